# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs that crash an engine or never end do so in a process of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.verification import verify_engines


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'deltaworld_ros' / 'trials'


def changed(source: Path, folder: Path, graph: str, edit: Any) -> Bundle:
    shutil.copytree(source, folder)
    manifest = load_bundle(folder).manifest
    model = onnx.load(folder / f'{graph}.onnx')
    edit(model)
    onnx.save(model, folder / f'{graph}.onnx')
    write_manifest(folder, manifest)
    return load_bundle(folder)


def slow(model: onnx.ModelProto) -> None:
    """Multiply a large matrix with itself again and again, on the way to an output."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([4000, 4000]), 'sizes'))
    graph.node.append(helper.make_node('ConstantOfShape', ['sizes'], ['m0']))
    for number in range(200):
        graph.node.append(helper.make_node(
            'MatMul', [f'm{number}', f'm{number}'], [f'm{number + 1}']))
    graph.node.append(helper.make_node('ReduceMax', ['m200'], ['most'], keepdims=0))
    name = graph.output[0].name
    node = next(node for node in graph.node if name in node.output)
    node.output[list(node.output).index(name)] = 'before'
    graph.node.append(helper.make_node('Add', ['before', 'most'], [name]))


def many(operator: str) -> Any:
    """Make 0.3 GB of a few bytes, on the way to an output."""
    def edit(model: onnx.ModelProto) -> None:
        graph = model.graph
        side = np.array([9_000], np.int64)

        def constant(name: str, values: Any) -> str:
            graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
            return name
        one = constant('one', np.float32([[1]]))
        nodes = {
            'ConstantOfShape': ([constant('sizes', side.repeat(2))], {}),
            'Expand': ([one, constant('sizes', side.repeat(2))], {}),
            'Tile': ([one, constant('sizes', side.repeat(2))], {}),
            'Range': ([constant('from', np.float32(0)), constant('to', np.float32(8e7)),
                       constant('by', np.float32(1))], {}),
            'Pad': ([one, constant('pads', np.array([0, 0, 9_000, 9_000]))], {}),
            'Resize': ([one, '', '', constant('sizes', side.repeat(2))], {}),
            'MatMul': ([constant('tall', np.ones((9_000, 1), np.float32)),
                        constant('wide', np.ones((1, 9_000), np.float32))], {}),
        }
        inputs, attributes = nodes[operator]
        graph.node.append(helper.make_node(operator, inputs, ['large'], **attributes))
        graph.node.append(helper.make_node('ReduceMin', ['large'], ['least'], keepdims=0))
        graph.node.append(helper.make_node('Mul', ['least', constant('none', np.float32(0))],
                                           ['nothing']))
        name = graph.output[0].name
        node = next(node for node in graph.node if name in node.output)
        node.output[list(node.output).index(name)] = 'before'
        graph.node.append(helper.make_node('Add', ['before', 'nothing'], [name]))
    return edit


def load(bundle: Bundle, lines: list[str]) -> None:
    load_engine(bundle, 'onnxruntime-cpu', 1, lines.append, apart_first=True).close()


def test_graph_that_aborts_its_process_is_one_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    """Found by the fuzzer: wrong scales of a resize end in an assertion of ONNX Runtime's."""
    def resize(model: onnx.ModelProto) -> None:
        [node] = [node for node in model.graph.node if node.op_type == 'Resize'][:1]
        [scales] = [item for item in model.graph.initializer if item.name == node.input[2]]
        scales.CopyFrom(numpy_helper.from_array(
            np.array([-3.6e-27, -6.5e31, -5.5e-19, 2e-10], np.float32), scales.name))
    bundle = changed(tiny_bundle, tmp_path / 'bundle', 'decode', resize)
    with pytest.raises(UserError, match='onnxruntime-cpu: its graphs ') as caught:
        load(bundle, [])
    assert 'end the process that computes them' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_graph_that_takes_too_long_is_one_reason(
        tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = changed(tiny_bundle, tmp_path / 'bundle', 'rollout', slow)
    monkeypatch.setattr('deltaworld_ros.engine.trial.MAX_SECONDS', 8.0)
    with pytest.raises(UserError, match='did not compute the golden frames within 8 s'):
        load(bundle, [])


@pytest.mark.parametrize('operator', [
    'ConstantOfShape', 'Expand', 'Tile', 'Range', 'Pad', 'Resize', 'MatMul'])
def test_graph_that_takes_too_much_memory_is_one_reason(
        tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        operator: str) -> None:
    """Whatever operator makes it, and before it is run in this process."""
    monkeypatch.setattr('deltaworld_ros.engine.trial.MAX_BYTES', 300_000_000)
    bundle = changed(tiny_bundle, tmp_path / 'bundle', 'rollout', many(operator))
    with pytest.raises(UserError, match='onnxruntime-cpu: its graphs take more than 0.3 GB'):
        load(bundle, [])


def test_verification_is_bounded_too(
        tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('deltaworld_ros.engine.trial.MAX_BYTES', 300_000_000)
    bundle = changed(tiny_bundle, tmp_path / 'bundle', 'rollout', many('ConstantOfShape'))
    results = {result.engine: result for result in verify_engines(bundle, log=lambda line: None)}
    assert results['onnxruntime-cpu'].outcome == 'failed'
    assert 'take more than' in results['onnxruntime-cpu'].details


def test_trial_ends_with_its_node(tiny_bundle: Path, tmp_path: Path) -> None:
    """Also where the node is killed: a graph that never ends must not stay behind."""
    bundle = changed(tiny_bundle, tmp_path / 'bundle', 'rollout', slow)
    program = ('import sys\n'
               'from deltaworld_ros.bundle import load_bundle\n'
               'from deltaworld_ros.engine import load_engine\n'
               'load_engine(load_bundle(sys.argv[1]), "onnxruntime-cpu", 1, apart_first=True)\n')
    node = subprocess.Popen([sys.executable, '-c', program, str(bundle.path)])

    def trials() -> list[Path]:
        return [folder for folder in Path('/proc').glob('[0-9]*')
                if str(bundle.path).encode() in _command(folder)
                and b'import run_trial' in _command(folder)]
    deadline = time.monotonic() + 60
    while not trials() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(trials()) == 1
    node.kill()
    node.wait()
    deadline = time.monotonic() + 20
    while trials() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert trials() == []


def _command(folder: Path) -> bytes:
    try:
        return (folder / 'cmdline').read_bytes()
    except OSError:
        return b''


def test_sound_bundle_is_tried_once(tiny_bundle: Path, cache: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    lines: list[str] = []
    load(bundle, lines)
    assert 'trying' in lines[0] and 'chosen' in lines[1]
    assert len(list(cache.iterdir())) == 2   # the trial and the folder's key
    load(bundle, lines)
    assert len(lines) == 3 and 'chosen' in lines[2]
    # Other settings run other graphs.
    load_engine(
        bundle, 'onnxruntime-cpu', 1, lines.append, num_futures=2, apart_first=True).close()
    assert 'trying' in lines[3]


def test_wrong_bundle_is_refused_for_what_is_wrong(tiny_bundle: Path, tmp_path: Path) -> None:
    """The trial does not judge: the reason is the engine's or the gate's."""
    bundle = changed(tiny_bundle, tmp_path / 'bundle', 'rollout',
                     lambda model: model.graph.node.pop(0))
    with pytest.raises(UserError, match='onnxruntime-cpu: .*(?i:onnx)'):
        load(bundle, [])


def test_shipped_bundles_need_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, 'run', lambda *_, **__: pytest.fail('tried'))
    load(load_bundle('street-lite0'), [])
