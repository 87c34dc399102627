# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`deltaworld bundle build`, its progress and its end by Ctrl-C."""

from __future__ import annotations

import _thread
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.host_gpu import HostCudart, HostLibrary

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine.tensorrt import build_ahead as build_ahead_module
from deltaworld_ros.engine.tensorrt import cuda as cuda_module
from deltaworld_ros.engine.tensorrt.build_ahead import build_ahead
from deltaworld_ros.engine.tensorrt.build_progress import ProgressLines
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.plan_cache import engine_folder
from deltaworld_ros.engine.tensorrt.tensorrt_engine import TensorRTEngine
from deltaworld_ros.errors import UserError

REQUIRED = 'pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs (x86-64 Linux)'
trt = pytest.importorskip('tensorrt_rtx_bindings', reason=REQUIRED)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return engine_folder()


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, '_load', lambda: HostCudart(devices=0))


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    library = HostCudart()
    monkeypatch.setattr(cuda_module, '_load', lambda: library)
    return library


def no_progress(phase: str, step: int, steps: int) -> None:
    pass


def test_a_node_finds_what_was_built_ahead(
        bundle: Bundle, cudart: HostCudart, cache: Path) -> None:
    phases: list[str] = []
    built = build_ahead(bundle, ['8.9', '8.6', '8.9'], print,
                        lambda phase, step, steps: phases.append(phase))
    assert [(engine.capability, engine.graph) for engine in built] == [
        (capability, graph) for capability in ('8.9', '8.6')
        for graph in ('observe', 'rollout', 'decode')]
    assert all(engine.path.parent == cache and engine.size > 1000 for engine in built)
    assert {phase.partition(':')[0] for phase in phases} == {
        f'{engine.capability} {engine.graph}' for engine in built}
    # The GPU here has 8.6.
    lines: list[str] = []
    TensorRTEngine(bundle, lines.append, HostLibrary(trt, bundle, cudart), Cuda()).close()
    assert lines == []
    assert build_ahead(bundle, [], lines.append, no_progress) == built[3:] and lines == []


def test_what_cannot_be_built_is_one_error(
        bundle: Bundle, no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, says in (
            ([], 'there is no GPU here to build for .*: name the GPUs with --capability'),
            (['8'], '--capability 8: must be two numbers'),
            (['8.6', '8.7'], 'knows no GPU of compute capability 8.7')):
        with pytest.raises(UserError, match=says) as caught:
            build_ahead(bundle, capabilities, print, no_progress)
        assert '\n' not in str(caught.value)
    monkeypatch.setattr('deltaworld_ros.engine.tensorrt.library.MODULES', ('no_such_trt',))
    with pytest.raises(UserError, match='none of the Python packages'):
        build_ahead(bundle, ['8.6'], print, no_progress)


def test_tensorrt_builds_for_this_gpu_alone(
        bundle: Bundle, cudart: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType('tensorrt')
    library.__version__ = '10.9'
    monkeypatch.setattr(build_ahead_module, 'find_library', lambda: library)
    with pytest.raises(UserError, match='--capability 8.9: tensorrt 10.9 builds for the GPU of '
                                        'this machine alone, which has 8.6'):
        build_ahead(bundle, ['8.6', '8.9'], print, no_progress)
    cudart.devices = 0
    with pytest.raises(UserError, match='TensorRT-RTX needs none'):
        build_ahead(bundle, ['8.6'], print, no_progress)


def test_cache_that_cannot_be_written_is_an_error(bundle: Bundle, cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_bytes(b'')
    with pytest.raises(UserError, match='could not be kept'):
        build_ahead(bundle, ['8.6'], print, no_progress)


def test_an_interrupt_ends_the_build(
        bundle: Bundle, cache: Path) -> None:
    # A test run in the background of a shell ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    told: list[str] = []

    def progress(phase: str, step: int, steps: int) -> None:
        if not told:
            _thread.interrupt_main()
        told.append(phase)
    try:
        with pytest.raises(KeyboardInterrupt):
            build_ahead(bundle, ['8.6'], print, progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert {phase.partition(':')[0] for phase in told} == {'8.6 observe'}
    assert not cache.exists()


def test_progress_is_a_line_every_few_seconds() -> None:
    now = 0.0
    lines: list[str] = []
    progress = ProgressLines(lines.append, lambda: now)
    for step in range(1, 121):
        now = step * 0.1
        progress('decode: Timing tactics', step, 200)
    assert lines == ['still building: decode: Timing tactics, 50 of 200',
                     'still building: decode: Timing tactics, 100 of 200']


def test_the_command(tiny_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'deltaworld_ros.cli', 'bundle', 'build', str(tiny_bundle)]
    done = subprocess.run([*command, '--capability', '8.6', '--json', str(tmp_path / 'b.json')],
                          capture_output=True, text=True, check=True)
    result = json.loads((tmp_path / 'b.json').read_text())
    assert [engine['graph'] for engine in result['engines']] == ['observe', 'rollout', 'decode']
    assert all(Path(engine['path']).stat().st_size > engine['bytes']
               for engine in result['engines'])
    assert 'engines of tensorrt_rtx' in done.stdout and 'building it' in done.stderr
    failed = subprocess.run([*command, '--capability', '5.2'], capture_output=True, text=True)
    assert failed.returncode == 1
    [line] = failed.stderr.split('\n\n')[-1].strip().splitlines()
    assert line.startswith('deltaworld: ') and 'compute capability 5.2' in line
