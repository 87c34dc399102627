# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Build the graphs of a bundle as TensorRT engines; TensorRT-RTX needs no GPU for it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import GRAPHS, Manifest
from deltaworld_ros.engine.interface import EngineUnavailable
from deltaworld_ros.engine.private_folder import AlteredFile, keep, kept
from deltaworld_ros.engine.tensorrt.build_progress import BuildMonitor, Progress
from deltaworld_ros.engine.tensorrt.error_log import ErrorLog
from deltaworld_ros.engine.tensorrt.library import is_rtx, library_name
from deltaworld_ros.engine.tensorrt.plan_cache import cached_plan, engine_folder, plan_key

# Least, usual and most of each dynamic axis of a graph's inputs, by input and axis.
Ranges = dict[str, dict[int, tuple[int, int, int]]]

# Room for evaluations with more samples and futures than the node takes.
MAX_SAMPLES = 1024
MAX_FUTURES = 20


def input_ranges(graph: str, manifest: Manifest) -> Ranges:
    """Return the sizes that an engine is built for: one camera, few to many samples or futures."""
    one = {0: (1, 1, 1)}
    if graph == 'observe':
        return {'image': one, 'previous_features': one}
    if graph == 'rollout':
        samples = (1, manifest.num_samples, max(MAX_SAMPLES, manifest.num_samples))
        return {'tokens': one, 'rotary_cos': one, 'rotary_sin': one, 'noise': {**one, 1: samples},
                **({'motion': one} if manifest.motion else {})}
    futures = (1, manifest.num_futures, max(MAX_FUTURES, manifest.num_futures))
    return {'features': one, 'tokens': {**one, 1: futures}, 'weights': {**one, 1: futures}}


def build_engines(
        library: Any, bundle: Bundle, capabilities: Sequence[str],
        log: Callable[[str], None], progress: Progress,
) -> dict[str, bytes]:
    """
    Return the engine of each graph from the cache, built where it is not there.

    `capabilities` are compute capabilities such as `8.6`: of the GPU at hand, or with TensorRT-RTX
    of any. Raise `EngineUnavailable` where a graph cannot be parsed or built.
    """
    plans = {}
    for graph in GRAPHS:
        def build(graph: str = graph) -> bytes:
            return build_plan(
                library, bundle.read(f'{graph}.onnx'),
                input_ranges(graph, bundle.manifest), capabilities, graph, progress)
        plans[graph] = cached_plan(plan_path(library, bundle, graph, capabilities), build, log)
    return plans


def plan_path(
        library: Any, bundle: Bundle, graph: str, capabilities: Sequence[str]) -> Path:
    """Return where the cache keeps an engine, under a key of all that it depends on."""
    key = plan_key({
        # Types and weights are in the graph as it was read: its hash stands for them too.
        'graph': hashlib.sha256(bundle.read(f'{graph}.onnx')).hexdigest(),
        'library': library_name(library),
        'capabilities': list(capabilities), 'options': 'typed 2',
        'shapes': repr(input_ranges(graph, bundle.manifest))})
    return engine_folder() / f'{bundle.manifest.name}-{graph}-{key}.engine'


def build_plan(
        library: Any, graph: bytes, ranges: Ranges, capabilities: Sequence[str], name: str,
        progress: Progress,
) -> bytes:
    """
    Parse an ONNX graph and build one engine of it; `EngineUnavailable` says what failed.

    `progress` is told of the graph by `name`. An interrupt ends the build.
    """
    errors = ErrorLog(library)
    builder = library.Builder(errors.logger)
    if builder is None:
        raise EngineUnavailable(f'{library_name(library)} cannot start a build: {errors.last()}')
    flag = getattr(library.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = library.OnnxParser(network, errors.logger)
    if not parser.parse(graph):
        problem = errors.last()
        if parser.num_errors:
            error = parser.get_error(0)
            problem = f'{error.node_operator()}: {error.desc()}'
        raise EngineUnavailable(
            f'{library_name(library)} cannot parse the graph: {" ".join(problem.split())[:300]}')
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sizes = [tuple(
            ranges[tensor.name][axis][which] if size < 0 else size
            for axis, size in enumerate(tensor.shape)) for which in range(3)]
        profile.set_shape(tensor.name, *sizes)
    config.add_optimization_profile(profile)
    monitor = BuildMonitor(library, name, progress)
    config.progress_monitor = monitor.monitor
    timings = None
    if is_rtx(library):
        _set_capabilities(library, config, capabilities)
        # Memory that the engine took while it runs could not be captured into a CUDA graph.
        config.set_flag(library.BuilderFlag.REQUIRE_USER_ALLOCATION)
    else:
        timings = engine_folder() / f'timing-{library.__version__}-{"-".join(capabilities)}.cache'
        known = b''
        with contextlib.suppress(OSError, AlteredFile):
            known = kept(timings)
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    # In a thread of its own: Ctrl-C reaches the main thread alone, and raised in TensorRT's calls
    # of the logger or the monitor it would be lost.
    with ThreadPoolExecutor(1) as thread:
        try:
            plan = thread.submit(builder.build_serialized_network, network, config).result()
        except KeyboardInterrupt:
            monitor.cancel()
            raise
    if plan is None:
        raise EngineUnavailable(f'{library_name(library)} cannot build the graph: {errors.last()}')
    if timings is not None:
        with contextlib.suppress(OSError):
            keep(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _set_capabilities(library: Any, config: Any, capabilities: Sequence[str]) -> None:
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(rtx_target(library, capability), index)


def rtx_target(library: Any, capability: str) -> Any:
    """Return TensorRT-RTX's value for a compute capability; `EngineUnavailable` if it has none."""
    known = getattr(library.ComputeCapability, f'SM{capability.replace(".", "")}', None)
    if known is None:
        raise EngineUnavailable(
            f'{library_name(library)} knows no GPU of compute capability {capability}')
    return known
