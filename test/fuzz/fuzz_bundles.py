# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of strangers: wrong manifests, graphs and golden files, all with the right hashes."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper
from support.fuzzing import main, mutate
from support.tiny_bundle import write_tiny_bundle

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster

_SECONDS, _MEGABYTES = 60, 1500
# Sizes are so small that a number for each byte is many times what a sound bundle needs.
HUGE = (0, -1, 1, 2, 2**15, 2**31 - 1, 2**31, 2**40, 2**62, 10**9)
OPERATORS = ('Loop', 'If', 'Scan', 'SequenceMap', 'Identity', 'MatMul', 'Concat', 'LSTM', 'Einsum',
             'NonZero', 'Expand', 'Nothing', '')
PLACES = ('golden.npz', 'bundle.yaml', 'observe.onnx', '../x', '/etc/passwd', '/dev/zero',
          '/proc/self/environ', '', '.', 'a\0b', 'x' * 5000)
SCALARS = (
    '!!int ""', '!!float "."', '!!bool x', '!!timestamp x', '!!binary a', '!!set {a}', '!own 1',
    '!!python/name:os.system', '!!python/object/apply:os.system ["touch escaped"]', '12:30:45',
    '1' + ':1' * 500, '9' * 5000, '0x' + 'f' * 5000, '1e400', '.nan', '-.inf', '2026-13-45', '~',
    'yes', '[]', '{}', '""', '-1', '0', '1.5', '"64"', '1_000', '[1, 2]', '&a [*a]', '*a',
    '{<<: 1}', '{<<: [1]}', '? {a: b}\n: c', '"\\0"', '"\\ud800"', '"\\e[2J"', '"\\u202e"',
    '"../../escaped"', '/tmp/escaped', '"[/x] [bold"', '"' + 'x' * 150_000 + '"', '%', '@', '`',
    '[' * 5000, '- ' * 5000, '{a: ' * 5000)


def manifest(chance: random.Random) -> None:
    """Load a bundle whose bundle.yaml is wrong in bytes, in a value, or by a trick of YAML."""
    files = dict(_sound())
    text = files['bundle.yaml']
    kind = chance.random()
    if kind < 0.4:
        files['bundle.yaml'] = mutate(text, chance)
    elif kind < 0.75:
        key = chance.choice(list(yaml.safe_load(text)))
        # The key's own lines, up to the next key.
        files['bundle.yaml'] = re.sub(
            rf'(?ms)^{key}:.*?(?=^\w|\Z)', lambda _: f'{key}: {chance.choice(SCALARS)}\n',
            text.decode()).encode('utf-8', 'surrogatepass')
    elif kind < 0.95:
        data = yaml.safe_load(text)
        _change_a_leaf(data, chance)
        files['bundle.yaml'] = yaml.safe_dump(data).encode()
    else:
        files['bundle.yaml'] = chance.choice((
            b'', b'\0', text.decode().encode('utf-16'), b'\xef\xbb\xbf' + text,
            text + b'---\na: 1\n', b'%YAML 9.9\n---\n' + text, text.replace(b'\n', b'\r'),
            _nested('[', ', ', ']'), _nested('{<<: [', ', ', ']}'), b'? [a]\n: 1\n', b'1: 2\n'))
    _run(files)


def graph(chance: random.Random) -> None:
    """Load and run a bundle with a graph that is wrong in bytes or in its structure."""
    files = dict(_sound())
    name = chance.choice(('observe', 'rollout', 'decode')) + '.onnx'
    if chance.random() < 0.4:
        files[name] = mutate(files[name], chance)
    else:
        model = onnx.load_from_string(files[name])
        for _ in range(chance.choice((1, 1, 1, 3))):
            chance.choice(EDITS)(model, chance)
        files[name] = model.SerializeToString()
    _run(_with_hashes(files))


def golden(chance: random.Random) -> None:
    """Load and judge a bundle with a golden.npz that is wrong."""
    files = dict(_sound())
    if chance.random() < 0.4:
        files['golden.npz'] = mutate(files['golden.npz'], chance)
    else:
        with np.load(io.BytesIO(files['golden.npz'])) as archive:
            members = {name: _npy(archive[name]) for name in archive.files}
            name = chance.choice(archive.files)
            array = archive[name]
        members[name] = _wrong_member(array, chance)
        if chance.random() < 0.1:
            del members[name]
        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as written:
            for name, content in members.items():
                written.writestr(f'{name}.npy', content)
        files['golden.npz'] = file.getvalue()
    _run(_with_hashes(files))


def _run(files: dict[str, bytes]) -> None:
    """Do with a bundle what the node does: load, choose an engine, forecast."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            _apart(load_bundle(folder))
        finally:
            assert {path.name for path in Path(folder).iterdir()} == set(files)
            assert not Path('escaped').exists()


def _apart(bundle: Bundle) -> None:
    """Forecast in a process of its own, as nodes try new bundles: a graph may end it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # A child begins with all that the process of the tests holds.
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        signal.alarm(_SECONDS)   # ends the process
        try:
            _forecast(bundle)
            peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10) - held
            assert peak < _MEGABYTES, f'took {peak} MB'
            code, text = 0, ''
        except UserError as error:
            code, text = 3, str(error)
        except BaseException:
            code, text = 4, traceback.format_exc(limit=-3)
        os.write(writer, text.encode(errors='replace')[:4000])
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, 'rb') as told:
        said = told.read().decode(errors='replace')
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code not in (4, -signal.SIGALRM), said or f'took more than {_SECONDS} s'
    if code:
        raise UserError(said or f'ended its process with {code}')


def _forecast(bundle: Bundle) -> None:
    m = bundle.manifest
    engine = load_engine(bundle, 'onnxruntime-cpu', 1, lambda line: None,
                         num_samples=m.num_samples, num_futures=m.num_futures,
                         single_leads=True)
    forecaster = Forecaster(engine, m)
    image = np.zeros((m.image_height, m.image_width, 3), np.uint8)
    for number in range(m.context_length):
        forecaster.observe(image, round(number * m.stride * 1e9))
    forecaster.present()
    if forecaster.ready:
        forecaster.forecast()
    engine.close()


@cache
def _sound() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_bundle(Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    _run(_with_hashes(files))   # or refusals would mean nothing
    return files


def _with_hashes(files: dict[str, bytes]) -> dict[str, bytes]:
    data = yaml.safe_load(files['bundle.yaml'])
    data['files'] = {name: hashlib.sha256(files[name]).hexdigest() for name in data['files']}
    return {**files, 'bundle.yaml': yaml.safe_dump(data).encode()}


def _nested(before: str, between: str, after: str) -> bytes:
    lines = ['a0: &a0 {k: 1, l: 2, m: 3}']
    for level in range(1, 9):
        inner = between.join([f'*a{level - 1}'] * 9)
        lines.append(f'a{level}: &a{level} {before}{inner}{after}')
    return '\n'.join(lines).encode()


def _change_a_leaf(data: Any, chance: random.Random) -> None:
    """Change a value somewhere in mappings and lists."""
    while True:
        key = chance.choice(list(data) if isinstance(data, dict) else range(len(data)))
        inner = data[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.2:
            data[key] = chance.choice((
                None, -1, 0, 2**70, 1e308, float('nan'), '', [], {}, 'x' * 300, True, [1], '../..',
                '<b>', 1, 16, 64, 1024, 8192, 65_536))
            return
        data = inner


def _operator(model: onnx.ModelProto, chance: random.Random) -> None:
    chance.choice(model.graph.node).op_type = chance.choice(OPERATORS)


def _domain(model: onnx.ModelProto, chance: random.Random) -> None:
    chance.choice(model.graph.node).domain = chance.choice(('com.microsoft', 'own', 'x' * 5000))


def _dimensions(model: onnx.ModelProto, chance: random.Random) -> None:
    tensor = chance.choice(model.graph.initializer)
    tensor.dims[:] = [chance.choice(HUGE) for _ in range(chance.choice((0, 1, 2, 50)))]


def _type(model: onnx.ModelProto, chance: random.Random) -> None:
    chance.choice(model.graph.initializer).data_type = chance.randrange(30)


def _data(model: onnx.ModelProto, chance: random.Random) -> None:
    tensor = chance.choice(model.graph.initializer)
    tensor.raw_data = chance.randbytes(chance.choice((0, 1, 7, len(tensor.raw_data))))


def _elsewhere(model: onnx.ModelProto, chance: random.Random) -> None:
    tensor = chance.choice(model.graph.initializer)
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (('location', chance.choice(PLACES)), ('offset', str(chance.choice(HUGE))),
                       ('length', str(chance.choice(HUGE)))):
        if chance.random() < 0.8:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value


def _size(model: onnx.ModelProto, chance: random.Random) -> None:
    value = chance.choice([*model.graph.input, *model.graph.output])
    size = chance.choice(value.type.tensor_type.shape.dim)
    size.dim_value = chance.choice((0, 1, 2, 7, 2**40))


def _without_a_node(model: onnx.ModelProto, chance: random.Random) -> None:
    del model.graph.node[chance.randrange(len(model.graph.node))]


def _twice(model: onnx.ModelProto, chance: random.Random) -> None:
    model.graph.node.append(chance.choice(model.graph.node))


def _input(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    names = [*node.output, '', 'nothing', model.graph.input[0].name]
    node.input[:] = [*node.input[1:], chance.choice(names)]


def _version(model: onnx.ModelProto, chance: random.Random) -> None:
    model.opset_import[0].version = chance.choice((0, -1, 1, 99, 2**40))
    model.ir_version = chance.choice((9, 9, 0, -1, 99, 2**60))


def _rename(model: onnx.ModelProto, chance: random.Random) -> None:
    value = chance.choice([*model.graph.input, *model.graph.output])
    value.name = chance.choice(('', 'x', model.graph.output[0].name))


def _attribute(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    if node.attribute:
        attribute = chance.choice(node.attribute)
        attribute.i = chance.choice(HUGE)
        attribute.ints[:] = [chance.choice(HUGE) for _ in range(chance.choice((1, 4, 20)))]


def _large(model: onnx.ModelProto, chance: random.Random) -> None:
    """Add a product that is larger than any size of the bundle, on the way to an output."""
    name = model.graph.output[0].name
    node = next(node for node in model.graph.node if name in node.output)
    node.output[list(node.output).index(name)] = 'before'
    size = chance.choice((10**6, 10**12, 2**62))
    model.graph.initializer.append(numpy_helper.from_array(np.array([size]), 'large_size'))
    model.graph.node.append(helper.make_node('ConstantOfShape', ['large_size'], ['large']))
    model.graph.node.append(helper.make_node('ReduceMax', ['large'], ['largest'], keepdims=1))
    model.graph.node.append(helper.make_node('Add', ['before', 'largest'], [name]))


EDITS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    _operator, _domain, _dimensions, _type, _data, _elsewhere, _size, _without_a_node, _twice,
    _input, _version, _rename, _attribute, _large)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def _header(shape: str, kind: str = "'<f4'", content: bytes = b'') -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\0' + len(header).to_bytes(2, 'little') + header + content


def _wrong_member(array: np.ndarray, chance: random.Random) -> bytes:
    """Return an array of other values, sizes or types, or something that only looks like one."""
    def filled(value: float) -> np.ndarray:
        with np.errstate(all='ignore'):
            return np.full(array.shape, value).astype(array.dtype)

    return chance.choice((
        *(partial(_npy, filled(value)) for value in (0, -1, 1e30, float('nan'), float('inf'))),
        *(partial(_npy, array.astype(kind)) for kind in ('i1', 'f8', 'u8', '?', 'U3', 'c16')),
        lambda: _npy(array[..., :-1]), lambda: _npy(array[None]), lambda: _npy(array.ravel()),
        lambda: _npy(array[:0]), lambda: _npy(np.zeros(())), lambda: _npy(np.repeat(array, 9, 0)),
        *(partial(_header, shape) for shape in (
            '(1000000000000,)', '(99999999999, 99999999999)', '(-1,)', '(2,)*100', '"x"', '()',
            '(True,)', '__import__("os").system("touch escaped")')),
        lambda: _header('(1,)', "'|O'", b"cos\nsystem\n(S'touch escaped'\ntR."),
        lambda: _header('(1,)', "[('a', '<f4')]", bytes(4)), lambda: b'',
        lambda: b'\x93NUMPY\x03\0\xff\xff\xff\x7f', lambda: mutate(_npy(array), chance)))()


CASES = {'bundle.yaml': (manifest, 700), 'graphs': (graph, 700), 'golden.npz': (golden, 700)}

if __name__ == '__main__':
    sys.exit(main(CASES))
