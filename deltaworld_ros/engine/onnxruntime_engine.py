# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run the graphs in ONNX Runtime, on the CPU or through CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.lead_outputs import FUTURE_MAPS, lead_output
from deltaworld_ros.bundle.manifest import GRAPHS
from deltaworld_ros.engine.cut_graph import cut_graph
from deltaworld_ros.engine.interface import EngineUnavailable, Features

CPU = 'CPUExecutionProvider'
CUDA = 'CUDAExecutionProvider'
# Subscribers come and go; each cut graph holds the decoder's weights once more.
MOST_CUT_SESSIONS = 3


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
        self._device = 'cuda' if provider == CUDA else 'cpu'
        self._ort = onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Idle threads of one graph must not take the cores from the graph that runs.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._open = lambda model: onnxruntime.InferenceSession(
            model, options, providers=[provider])
        self._sessions = {graph: self._open(str(bundle.file(f'{graph}.onnx'))) for graph in GRAPHS}
        self._decode_graph = bundle.file('decode.onnx')
        self._cut_sessions: dict[tuple[str, ...], Any] = {}
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
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        feeds = {
            'tokens': tokens[None], 'rotary_cos': rotary_cos[None],
            'rotary_sin': rotary_sin[None], 'noise': noise[None]}
        future: NDArray[np.float32] = self._sessions['rollout'].run(['future_tokens'], feeds)[0][0]
        return future

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`; maps of other leads than `leads` are zero."""
        if leads is not None:
            wanted = [(name, lead) for name in outputs for lead in leads
                      if lead > 0 or name not in FUTURE_MAPS]
            session = self._cut_session(tuple(lead_output(*one) for one in wanted))
            if session is not None:
                parts = self._decode(session, features, tokens, weights,
                                     [lead_output(*one) for one in wanted])
                return self._joined(dict(zip(wanted, parts, strict=True)), outputs, len(tokens))
        maps = self._decode(self._sessions['decode'], features, tokens, weights, outputs)
        return dict(zip(outputs, maps, strict=True))

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

    def _cut_session(self, outputs: tuple[str, ...]) -> Any:
        """Give the decode graph cut down to these values, or None where it has no such values."""
        if outputs not in self._cut_sessions:
            model = cut_graph(self._decode_graph.read_bytes(), outputs)
            if len(self._cut_sessions) == MOST_CUT_SESSIONS:
                del self._cut_sessions[next(iter(self._cut_sessions))]
            self._cut_sessions[outputs] = None if model is None else self._open(model)
        return self._cut_sessions[outputs]

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
        self._cut_sessions.clear()
        self._no_features = None
