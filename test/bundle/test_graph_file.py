# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs are checked before an engine reads them: sizes, control flow, weights in other files."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.bundle.graph_file import check_graph
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))


@pytest.fixture(scope='module')
def tiny(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def change(folder: Path, graph: str, edit: Any) -> None:
    """Edit a graph and write the manifest that knows its new hash."""
    manifest = load_bundle(folder).manifest
    model = onnx.load(folder / f'{graph}.onnx', load_external_data=False)
    edit(model)
    (folder / f'{graph}.onnx').write_bytes(model.SerializeToString())
    write_manifest(folder, manifest)


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize('key, graph, says', [
    ('image_width', 'observe', 'input image: has the shape (any, 32, 64, 3)'),
    ('feature_size', 'observe', 'input previous_features'),
    ('noise_size', 'rollout', 'input noise: has the shape (any, any, 3, 6)'),
    ('token_size', 'observe', 'output delta_token'),
    ('map_height', 'decode', 'output labels'),
    ('context_length', 'rollout', 'input tokens'),
])
def test_sizes_that_disagree_are_named(folder: Path, key: str, graph: str, says: str) -> None:
    path = folder / 'bundle.yaml'
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**data, key: data[key] + 1}))
    text = refusal(folder)
    assert f'{graph}.onnx: {says}' in text and 'by bundle.yaml' in text


def test_more_frequencies_than_the_graph_takes_are_named(folder: Path) -> None:
    path = folder / 'bundle.yaml'
    data = yaml.safe_load(path.read_text())
    data['rotary_frequencies'].append(3.0)
    path.write_text(yaml.safe_dump(data))
    assert 'rollout.onnx: input rotary_cos: has the shape (any, 7, 5)' in refusal(folder)


def test_a_motion_that_the_graph_does_not_take_is_named(folder: Path) -> None:
    path = folder / 'bundle.yaml'
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), 'motion': True}))
    assert 'rollout.onnx: has no input motion' in refusal(folder)


def test_a_motion_that_the_manifest_does_not_know_is_named(folder: Path) -> None:
    def take(model: onnx.ModelProto) -> None:
        model.graph.input.append(
            helper.make_tensor_value_info('motion', TensorProto.FLOAT, ['B', 7, 3]))
    change(folder, 'rollout', take)
    assert 'rollout.onnx: has the unknown input motion' in refusal(folder)


def loop(model: onnx.ModelProto) -> None:
    """Append a loop that never ends."""
    flag = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node('Identity', ['go_on'], ['again'])], 'body',
        [flag('i', TensorProto.INT64, []), flag('go_on', TensorProto.BOOL, [])],
        [flag('again', TensorProto.BOOL, [])])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), 'yes'))
    model.graph.node.append(helper.make_node('Loop', ['', 'yes'], [], body=body))


def hidden_loop(model: onnx.ModelProto) -> None:
    loop(model)
    model.graph.node[-1].op_type = 'Gemm'


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function(
        'own', 'Calls', ['x'], ['y'], [helper.make_node('Identity', ['x'], ['y'])],
        [helper.make_opsetid('', 18)]))


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = 'picture'


def float_image(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


@pytest.mark.parametrize('edit, says', [
    (loop, 'control flow (Loop)'), (hidden_loop, 'control flow (a graph in a node)'),
    (function, 'functions of its own'), (rename_input, 'no input image'),
    (float_image, 'input image: must be of the type uint8'),
    (fixed_batch, 'input image: has the shape (4, 32, 64, 3)'),
    (lambda model: model.graph.output.pop(), 'no output anchor_token'),
    (lambda model: model.graph.input.append(
        helper.make_tensor_value_info('more', TensorProto.FLOAT, [1])), 'unknown input more'),
])
def test_graphs_that_no_engine_should_read(folder: Path, edit: Any, says: str) -> None:
    change(folder, 'observe', edit)
    text = refusal(folder)
    assert 'observe.onnx: ' in text and says in text


@pytest.mark.parametrize('futures', [1, 6])
def test_numbers_of_futures_must_be_able_to_vary(folder: Path, futures: int) -> None:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = futures
    change(folder, 'decode', fix)
    assert 'decode.onnx: input tokens' in refusal(folder)


def externalise(model: onnx.ModelProto, location: str, **entries: str) -> bytes:
    """Take the largest weight out of a graph and return its bytes."""
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    data: bytes = tensor.raw_data
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {'location': location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return data


def test_weights_in_a_listed_file_are_held_with_the_graph(folder: Path) -> None:
    def move(model: onnx.ModelProto) -> None:
        data = externalise(model, 'weights.bin', offset='8')
        (folder / 'weights.bin').write_bytes(b'8 before' + data)
    change(folder, 'rollout', move)
    bundle = load_bundle(folder)
    assert 'weights.bin' in bundle.manifest.files
    shutil.rmtree(folder)
    load_engine(bundle, 'onnxruntime-cpu', 1).close()


@pytest.mark.parametrize('location', [
    'unlisted.bin', '../unlisted.bin', '/etc/passwd', '../../../../etc/passwd', '/dev/zero', '',
    '.', '..', 'nul\0l', '/proc/self/environ'])
def test_weights_elsewhere_are_refused(folder: Path, location: str) -> None:
    change(folder, 'rollout', lambda model: externalise(model, location))
    (folder / 'unlisted.bin').write_bytes(bytes(10_000))
    (folder.parent / 'unlisted.bin').write_bytes(bytes(10_000))
    assert 'which the bundle does not list' in refusal(folder)


@pytest.mark.parametrize('entries', [
    {'offset': '-1'}, {'offset': '10000000'}, {'length': '1099511627776'}, {'length': '-4'},
    {'offset': 'x'}, {'length': '9' * 100}])
def test_weights_outside_of_their_file_are_refused(
        folder: Path, entries: dict[str, str]) -> None:
    (folder / 'weights.bin').write_bytes(bytes(10_000))
    change(folder, 'rollout', lambda model: externalise(model, 'weights.bin', **entries))
    assert 'rollout.onnx: ' in refusal(folder)


def test_constants_in_other_files_are_refused(folder: Path) -> None:
    def add(model: onnx.ModelProto) -> None:
        node = helper.make_node(
            'Constant', [], ['c'], value=numpy_helper.from_array(np.zeros(4, np.float32)))
        tensor = node.attribute[0].t
        tensor.ClearField('raw_data')
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = 'location', 'golden.npz'
        model.graph.node.append(node)
    change(folder, 'decode', add)
    assert 'decode.onnx: has a constant in another file' in refusal(folder)


def test_graph_alone_holds_its_weights(tiny: Bundle) -> None:
    """Of bytes, an engine would look for other files in the folder where it was started."""
    model = onnx.load_from_string(tiny.read('rollout.onnx'))
    externalise(model, 'weights.bin')
    with pytest.raises(UserError, match='has weights in another file'):
        check_graph('rollout', model.SerializeToString(), tiny.manifest)


def test_second_graph_cannot_hide(folder: Path, tiny: Bundle) -> None:
    """Protocol buffers join repeated messages, so a check of the first would see half."""
    model = onnx.load_from_string(tiny.read('observe.onnx'))
    del model.graph.input[:], model.graph.output[:], model.graph.initializer[:]
    loop(model)
    for content in (tiny.read('observe.onnx') + model.SerializeToString(), b''):
        with pytest.raises(UserError, match='has [02] graphs'):
            check_graph('observe', content, tiny.manifest)


@pytest.mark.parametrize('graph', ['observe', 'rollout', 'decode'])
def test_damaged_graphs_are_one_line(tiny: Bundle, graph: str) -> None:
    whole = tiny.read(f'{graph}.onnx')
    generator = random.Random(graph)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(generator.choice((1, 1, 4, 20))):
            place = generator.randrange(min(len(damaged), generator.choice((200, 10**9))))
            damaged[place] = generator.randrange(256)
        try:
            check_graph(graph, bytes(damaged[:generator.choice((None, place))]), tiny.manifest)
        except UserError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused > 15
