# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run the graphs in ONNX Runtime, on the CPU or through CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS, FUTURE_MAPS, lead_output
from deltaworld_ros.bundle.manifest import GRAPHS
from deltaworld_ros.bundle.motion import motion_input
from deltaworld_ros.engine.cut_graph import cut_graph
from deltaworld_ros.engine.interface import EngineUnavailable, Features, LeadDecoding

CPU = 'CPUExecutionProvider'
CUDA = 'CUDAExecutionProvider'
# Each graph of a lead holds the decoder's weights once more.
MAX_LEAD_GRAPH_BYTES = 256_000_000


class OnnxRuntimeEngine:
    """
    The graphs of a bundle in ONNX Runtime; features stay on the device as `OrtValue`.

    Raise `EngineUnavailable` where the package or its CUDA provider is missing or unusable.
    `threads` is the number of CPU threads of a graph, 0 for one a physical core.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, provider: str = CPU) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise EngineUnavailable(
                'the Python package onnxruntime is not installed (pip install onnxruntime)'
            ) from None
        if provider not in onnxruntime.get_available_providers():
            raise EngineUnavailable(
                f'the installed onnxruntime has no {provider} (pip install onnxruntime-gpu)')
        if provider == CUDA and hasattr(onnxruntime, 'preload_dlls'):
            # Finds CUDA libraries that pip installed, which are on no library path.
            onnxruntime.preload_dlls()
        self.name = f'onnxruntime ({provider})'
        self.several_threads = provider == CPU
        self._device = 'cuda' if provider == CUDA else 'cpu'
        self._ort = onnxruntime
        options = self._options = session_options(threads)
        # A graph that fails on the CPU would be tried there again, with a banner on the output.
        retry: dict[str, int] = {'enable_fallback': 0} if provider == CPU else {}
        self._open = lambda model: onnxruntime.InferenceSession(
            model, options, providers=[provider], **retry)
        self._sessions = {graph: self._open(bundle.read(f'{graph}.onnx')) for graph in GRAPHS}
        self._lead_sessions: dict[LeadDecoding, Any] = {}
        # Where CUDA's libraries do not load, ONNX Runtime quietly runs on the CPU instead.
        if provider not in self._sessions['observe'].get_providers():
            self.close()
            raise EngineUnavailable(
                f'onnxruntime could not start {provider}: no usable GPU, or CUDA and cuDNN '
                'libraries of another version')
        self._manifest = manifest = bundle.manifest
        self._no_features = self.features_from_host(
            np.zeros((manifest.num_patches, manifest.feature_size), np.float32))

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        binding = self._sessions['observe'].io_binding()
        binding.bind_cpu_input('image', np.ascontiguousarray(image)[None])
        binding.bind_ortvalue_input(
            'previous_features', self._no_features if previous is None else previous)
        binding.bind_output('features', self._device)
        binding.bind_output('delta_token', 'cpu')
        binding.bind_output('anchor_token', 'cpu')
        self._sessions['observe'].run_with_iobinding(binding)
        features, delta, anchor = binding.get_outputs()
        return features, delta.numpy()[0], anchor.numpy()[0]

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        feeds = {
            'tokens': tokens[None], 'rotary_cos': rotary_cos[None],
            'rotary_sin': rotary_sin[None], 'noise': noise[None],
            **motion_input(self._manifest, motion)}
        future: NDArray[np.float32] = self._sessions['rollout'].run(['future_tokens'], feeds)[0][0]
        return future

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`; maps of other leads than `leads` are zero."""
        given = features, tokens, weights
        decodings = self._decodings(outputs, leads)
        if not decodings:
            maps = self._decode(self._sessions['decode'], *given, outputs)
            return dict(zip(outputs, maps, strict=True))
        parts = {}
        for decoding in decodings:
            lead = decoding.lead
            names = [name for name in outputs if lead > 0 or name not in FUTURE_MAPS]
            values = self._decode(self._lead_sessions[decoding], *given,
                                  [lead_output(name, lead) for name in names])
            parts.update({(name, lead): value for name, value in zip(names, values, strict=True)})
        return self._joined(parts, outputs, len(tokens))

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """See `Engine.prepare_leads`; fewer where the graphs would take too much memory."""
        # An arena for each would keep what its largest run took; without, it is as fast.
        self._options.enable_cpu_mem_arena = False
        whole, size = bundle.read('decode.onnx'), 0
        sessions = {}
        for decoding in lead_decodings(self._manifest.steps):
            model = cut_graph(whole, [
                lead_output(name, decoding.lead) for name in decoding.outputs])
            if model is None:   # the graph has no values of single leads
                break
            size += len(model)
            if size > MAX_LEAD_GRAPH_BYTES:
                break
            sessions[decoding] = self._open(model)
        self._lead_sessions = sessions
        return list(sessions)

    def _decodings(
            self, outputs: Sequence[str], leads: Sequence[int] | None) -> list[LeadDecoding]:
        """Return what is prepared for these maps; nothing where the whole graph is to run."""
        ahead = [lead for lead in leads or () if lead > 0]
        if leads is None or len(ahead) > 1:
            return []
        chosen = []
        for lead in leads:
            wanted = {name for name in outputs if lead > 0 or name not in FUTURE_MAPS}
            decoding = next((prepared for prepared in self._lead_sessions
                             if prepared.lead == lead and wanted <= set(prepared.outputs)), None)
            if decoding is None:
                return []
            chosen.append(decoding)
        return chosen

    def _decode(self, session: Any, features: Features, tokens: NDArray[np.float32],
                weights: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[Any]]:
        binding = session.io_binding()
        binding.bind_ortvalue_input('features', features)
        binding.bind_cpu_input('tokens', np.ascontiguousarray(tokens, np.float32)[None])
        binding.bind_cpu_input('weights', np.ascontiguousarray(weights, np.float32)[None])
        for name in outputs:
            binding.bind_output(name, 'cpu')
        session.run_with_iobinding(binding)
        return [value.numpy()[0] for value in binding.get_outputs()]

    def _joined(self, parts: dict[tuple[str, int], NDArray[Any]], outputs: Sequence[str],
                futures: int) -> dict[str, NDArray[Any]]:
        """Put the maps of single leads into arrays of the shapes that the whole graph gives."""
        m = self._manifest
        maps = {}
        for name in outputs:
            leads = (futures, m.steps) if name in FUTURE_MAPS else (m.steps + 1,)
            kind = np.uint8 if name.endswith('labels') else np.float32
            maps[name] = np.zeros((*leads, m.map_height, m.map_width), kind)
        for (name, lead), value in parts.items():
            if name in FUTURE_MAPS:
                maps[name][:, lead - 1] = value
            else:
                maps[name][lead] = value
        return maps

    def features_to_host(self, features: Features) -> NDArray[np.float32]:
        """See `Engine.features_to_host`."""
        array: NDArray[np.float32] = features.numpy()[0]
        return array

    def features_from_host(self, array: NDArray[np.float32]) -> Features:
        """See `Engine.features_from_host`."""
        # The copy keeps the features from changing with the caller's array on the CPU.
        batch = np.array(array, np.float32)[None]
        return self._ort.OrtValue.ortvalue_from_numpy(batch, self._device, 0)

    def close(self) -> None:
        """See `Engine.close`."""
        self._sessions.clear()
        self._lead_sessions.clear()
        self._no_features = None


def session_options(threads: int) -> Any:
    """Return the options of a session on `threads` CPU threads, 0 for one a physical core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads of one graph must not take the cores from the graph that runs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return options


def available_providers() -> list[str]:
    """Return the providers of the installed ONNX Runtime; none where there is none."""
    try:
        import onnxruntime
    except ImportError:
        return []
    found: list[str] = onnxruntime.get_available_providers()
    return found


def lead_decodings(steps: int) -> list[LeadDecoding]:
    """Return what nodes ask for most: fused maps of one lead, then those of each future too."""
    ahead = range(steps, 0, -1)
    return [LeadDecoding(FUSED_MAPS, lead) for lead in (0, *ahead)] + [
        LeadDecoding(FUSED_MAPS + FUTURE_MAPS, lead) for lead in ahead]
