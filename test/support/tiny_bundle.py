# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write a tiny, real, deterministic bundle: three ONNX graphs that obey every shape of the format.

In tests: the session fixture `tiny_bundle` gives the folder of one with the default sizes; for
other sizes `from support.tiny_bundle import write_tiny_bundle`.

The content is simple enough to reason about. A patch's features are its mean colour (first three
numbers: red, green, blue in 0..1) and mixtures of it. The delta token's first numbers are the
mean change of the features over the frame, so a picture that fades is forecast to go on fading.
Every future repeats the last delta token, slightly changed by the context, the rotary tables and
its noise. The class of a patch is its dominant colour (grey: road, green: vegetation, blue: sky,
red: vehicle); brighter patches are farther away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deltaworld_ros.bundle import Licence, Manifest, SemanticClass, write_manifest

PATCH = 16
CLASSES = (
    SemanticClass(name='road', color=(128, 64, 128), role='traversable'),
    SemanticClass(name='vegetation', color=(107, 142, 35), role='static'),
    SemanticClass(name='sky', color=(70, 130, 180), role='traversable'),
    SemanticClass(name='vehicle', color=(0, 0, 142), role='dynamic'),
)
Array = NDArray[Any]


def write_tiny_bundle(
        folder: Path, *, image_width: int = 64, image_height: int = 32, feature_size: int = 8,
        token_size: int = 12, noise_size: int = 6, noise_std: float = 0.02,
        queries: str = 'kept', stride: float = 0.2, steps: int = 3, context_length: int = 4,
        map_scale: float = 0.5, num_samples: int = 32, num_futures: int = 4,
        seed: int = 0, paints: bool = False,
        motion: bool = False) -> Path:
    """Write the bundle into `folder` (sides in multiples of 16) and give it; `paints`: a painter.

    A painted patch has the mean colour that its first three features are. With `motion` a picture
    grows darker, and so comes nearer, the faster the robot is planned to drive.
    """
    assert image_width % PATCH == 0 and image_height % PATCH == 0
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        format=1, name='tiny', description='A tiny bundle for tests.', created='2026-01-01',
        backbone='mean_colour', image_width=image_width, image_height=image_height,
        feature_rows=image_height // PATCH, feature_columns=image_width // PATCH,
        feature_size=feature_size, token_size=token_size, noise_size=noise_size,
        noise_std=noise_std, queries=queries,
        rotary_frequencies=[float(value) for value in 10.0 ** -np.linspace(-1, 2, 5)],
        stride=stride, steps=steps, context_length=context_length,
        map_width=int(image_width * map_scale), map_height=int(image_height * map_scale),
        depth_minimum=2.0, depth_maximum=42.0, focal_length=float(image_width),
        num_samples=num_samples, num_futures=num_futures, selection_dimensions=feature_size,
        motion=motion,
        classes=list(CLASSES),
        licences=[Licence(name='Apache-2.0', component='tiny', source='test/support')],
        sources=['test/support/tiny_bundle.py'], training_data=['none'])
    rng = np.random.default_rng(seed)
    graphs = {'observe': _observe(manifest, rng), 'rollout': _rollout(manifest, rng),
              'decode': _decode(manifest, rng)}
    if paints:
        graphs['paint'] = _paint(manifest)
    for name, model in graphs.items():
        onnx.checker.check_model(model, full_check=True)
        (folder / f'{name}.onnx').write_bytes(model.SerializeToString())
    write_golden(folder, manifest)
    blur = np.zeros((steps, feature_size, 3, 3), np.float32)
    for step in range(steps):
        blur[step] = 0.02 * (step + 1)
        blur[step, :, 1, 1] = 1 - 8 * 0.02 * (step + 1)
    np.savez_compressed(folder / 'baselines.npz', blur=blur,
                        mean_token=0.01 * rng.standard_normal(token_size).astype(np.float32))
    (folder / 'LICENSES.md').write_text('# Licences\n\nMade by a test: Apache-2.0.\n')
    write_manifest(folder, manifest)
    return folder


def write_golden(folder: Path, manifest: Manifest) -> None:
    """Write golden.npz from what the folder's graphs compute in ONNX Runtime."""
    rng = np.random.default_rng(7)
    frames = fading_frames(manifest, manifest.context_length)
    stamps = 1.7e9 + manifest.stride * np.arange(manifest.context_length)
    samples, futures = 8, 3
    noise = (manifest.noise_std * rng.standard_normal(
        (1, samples, manifest.steps, manifest.noise_size))).astype(np.float32)
    weights = np.array([[0.5, 0.3, 0.2]], np.float32)

    previous = np.zeros((1, manifest.num_patches, manifest.feature_size), np.float32)
    observed = []
    for frame in frames:
        observed.append(_run(folder, 'observe', image=frame[None], previous_features=previous))
        previous = observed[-1]['features']
    features = np.concatenate([outputs['features'] for outputs in observed])
    deltas = np.concatenate([outputs['delta_token'] for outputs in observed])
    anchors = np.concatenate([outputs['anchor_token'] for outputs in observed])
    tokens = np.concatenate([anchors[:1], deltas[1:]])[None]

    ahead = manifest.stride * np.arange(1 - manifest.context_length, manifest.steps + 1)
    angles = 2 * np.pi * ahead[:, None] * np.array(manifest.rotary_frequencies)
    known = np.array([6.0, 0.1, 1.0], np.float32)
    told = {'motion': np.tile(known, (1, len(ahead), 1))} if manifest.motion else {}
    future_tokens = _run(
        folder, 'rollout', **told, tokens=tokens,
        rotary_cos=np.cos(angles)[None].astype(np.float32),
        rotary_sin=np.sin(angles)[None].astype(np.float32), noise=noise)['future_tokens']
    decoded = _run(folder, 'decode', features=features[-1:], weights=weights,
                   tokens=future_tokens[:, :futures])
    decoded.pop('future_features')
    np.savez_compressed(
        folder / 'golden.npz', frames=frames, stamps=stamps, noise=noise, features=features,
        delta_tokens=deltas, anchor_tokens=anchors, tokens=tokens, future_tokens=future_tokens,
        weights=weights, **told, **decoded)


def fading_frames(manifest: Manifest, count: int) -> NDArray[np.uint8]:
    """Return (count, h, w, 3) frames of coloured patches that grow brighter with time."""
    rng = np.random.default_rng(3)
    tint = rng.choice(np.array([[90, 88, 91], [40, 120, 50], [60, 80, 150], [140, 50, 40]]),
                      (manifest.feature_rows, manifest.feature_columns))
    tint = tint.repeat(PATCH, 0).repeat(PATCH, 1)
    grain = rng.integers(-8, 9, (count, manifest.image_height, manifest.image_width, 3))
    fade = 9 * np.arange(count)[:, None, None, None]
    return np.clip(tint + grain + fade, 0, 255).astype(np.uint8)


class _Graph:
    """Collects nodes and float16-stored weights, as the exporter stores them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f'{kind}_{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(self, name: str, values: Array) -> str:
        stored = numpy_helper.from_array(np.asarray(values, np.float16), f'{name}_half')
        self.initializers.append(stored)
        return self.op('Cast', stored.name, output=name, to=TensorProto.FLOAT)

    def constant(self, values: Array | list[int] | float) -> str:
        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind == 'i' else np.float32)
        name = f'constant_{len(self.initializers)}'
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def part(self, source: str, axis: int, start: int, end: int) -> str:
        return self.op('Slice', source, self.constant([start]), self.constant([end]),
                       self.constant([axis]))

    def model(self, name: str, inputs: dict[str, tuple[Any, ...]],
              outputs: dict[str, tuple[Any, ...]]) -> onnx.ModelProto:
        def value(item: tuple[str, tuple[Any, ...]]) -> onnx.ValueInfoProto:
            integer = item[0] in ('image', 'labels', 'fused_labels', 'picture')
            kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
            return helper.make_tensor_value_info(item[0], kind, item[1])

        graph = helper.make_graph(self.nodes, name, [value(item) for item in inputs.items()],
                                  [value(item) for item in outputs.items()], self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)],
                                 ir_version=9)


def _observe(m: Manifest, rng: np.random.Generator) -> onnx.ModelProto:
    g = _Graph()
    patches, size = m.num_patches, m.feature_size
    mixture = np.concatenate([np.eye(3), 0.3 * rng.standard_normal((3, size - 3))], 1)
    image = g.op('Cast', 'image', to=TensorProto.FLOAT)
    image = g.op('Transpose', g.op('Div', image, g.constant(255.0)), perm=[0, 3, 1, 2])
    pooled = g.op('AveragePool', image, kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    colours = g.op('Transpose', g.op('Reshape', pooled, g.constant([0, 3, patches])),
                   perm=[0, 2, 1])
    g.op('MatMul', colours, g.weight('mixture', mixture), output='features')
    for name, frame, seed in (('delta', g.op('Sub', 'features', 'previous_features'), 1),
                              ('anchor', 'features', 2)):
        encode = 0.1 * np.random.default_rng(seed).standard_normal((patches, size, m.token_size))
        encode[:, :, :size] = np.eye(size) / patches
        flat = g.op('Reshape', frame, g.constant([0, patches * size]))
        weight = g.weight(f'{name}_encoder', encode.reshape(patches * size, m.token_size))
        g.op('MatMul', flat, weight, output=f'{name}_token')
    return g.model(
        'observe',
        {'image': ('B', m.image_height, m.image_width, 3),
         'previous_features': ('B', patches, size)},
        {'features': ('B', patches, size), 'delta_token': ('B', m.token_size),
         'anchor_token': ('B', m.token_size)})


def _rollout(m: Manifest, rng: np.random.Generator) -> onnx.ModelProto:
    g = _Graph()
    length, steps, token = m.context_length, m.steps, m.token_size
    last = g.op('Unsqueeze', g.part('tokens', 1, length - 1, length), g.constant([1]))
    axes = g.constant([2])
    cosine = g.op('ReduceMean', 'rotary_cos', axes, keepdims=1)   # (B,T+S,1)
    sine = g.op('ReduceMean', 'rotary_sin', axes, keepdims=1)
    context = g.op('ReduceMean', g.op('Mul', 'tokens', g.part(cosine, 1, 0, length)),
                   g.constant([1]), keepdims=1)
    context = g.op('Mul', g.op('Unsqueeze', context, g.constant([1])), g.constant(0.02))
    gain = g.op('Mul', g.part(sine, 1, length, length + steps), g.constant(0.02))
    gain = g.op('Add', g.op('Unsqueeze', gain, g.constant([1])), g.constant(1.0))  # (B,1,S,1)
    spread = g.op('MatMul', 'noise', g.weight(
        'noise_projection', rng.standard_normal((m.noise_size, token))))
    spread = g.op('CumSum', spread, g.constant(2))
    base = g.op('Add', g.op('Mul', last, gain), context)
    told = {}
    if m.motion:
        told = {'motion': ('B', length + steps, 3)}
        nearer = g.weight('nearer', np.outer([-0.005, 0.0, 0.0], np.arange(token) < 3))
        planned = g.op('MatMul', g.part('motion', 1, length, length + steps), nearer)
        base = g.op('Add', base, g.op('Unsqueeze', planned, g.constant([1])))
    g.op('Add', base, spread, output='future_tokens')
    rotary = ('B', length + steps, len(m.rotary_frequencies))
    return g.model(
        'rollout',
        {'tokens': ('B', length, token), 'rotary_cos': rotary, 'rotary_sin': rotary,
         'noise': ('B', 'M', steps, m.noise_size), **told},
        {'future_tokens': ('B', 'M', steps, token)})


def _decode(m: Manifest, rng: np.random.Generator) -> onnx.ModelProto:
    g = _Graph()
    size, steps, patches = m.feature_size, m.steps, m.num_patches
    rows, columns, height, width = m.feature_rows, m.feature_columns, m.map_height, m.map_width
    spread = np.zeros((m.token_size, size))
    spread[:size] = np.eye(size)
    spread[size:] = 0.02 * rng.standard_normal((m.token_size - size, size))
    classify = np.zeros((size, 5))
    classify[:3, :4] = np.array([[0, -.5, -.5, 1], [0, 1, -.5, -.5], [0, -.5, 1, -.5]])
    classify[:3, 4] = 2.0   # brightness for the depth
    classifier = g.weight('classifier', classify)
    offset = g.weight('classifier_offset', np.array([0.06, 0, 0, 0, -3.0]))

    def heads(features: str, leading: list[int], depth: str | None) -> tuple[str, str]:
        scores = g.op('Add', g.op('MatMul', features, classifier), offset)
        flat = g.op('Reshape', scores, g.constant([-1, rows, columns, 5]))
        maps = g.op('Transpose', flat, perm=[0, 3, 1, 2])
        maps = g.op('Resize', maps, '', g.constant([1.0, 1.0, height / rows, width / columns]),
                    mode='linear')
        best = g.op('ArgMax', g.part(maps, 1, 0, 4), axis=1, keepdims=0)
        share = g.op('Sigmoid', g.part(maps, 1, 4, 5))
        metres = g.op('Add', g.op('Mul', share, g.constant(m.depth_maximum - m.depth_minimum)),
                      g.constant(m.depth_minimum))
        shape = g.constant([*leading, height, width])
        # As in exported graphs, only outputs are uint8: TensorRT knows no others.
        best = g.op('Cast', g.op('Reshape', best, shape), to=TensorProto.INT32)
        return best, g.op('Reshape', metres, shape, output=depth)

    change = g.op('CumSum', g.op('MatMul', 'tokens', g.weight('spread', spread)), g.constant(2))
    change = g.op('Unsqueeze', change, g.constant([3]))
    start = g.op('Unsqueeze', 'features', g.constant([1, 2]))
    futures = g.op('Add', start, change, output='future_features')          # (B,K,S,N,D)
    # (B*S) leads with K futures in front: shapes stay dynamic in B and K through -1.
    batch = g.op('Slice', g.op('Shape', 'tokens'), g.constant([0]), g.constant([2]))
    scores_shape = g.constant([steps, height, width])
    flat_labels, flat_depth = heads(futures, [-1, steps], None)
    full = g.op('Concat', batch, scores_shape, axis=0)
    labels = g.op('Reshape', flat_labels, full)
    g.op('Cast', labels, output='labels', to=TensorProto.UINT8)
    g.op('Reshape', flat_depth, full, output='depth')
    weights = g.op('Unsqueeze', 'weights', g.constant([2, 3, 4]))
    mean = g.op('ReduceSum', g.op('Mul', futures, weights), g.constant([1]), keepdims=0)
    present = g.op('Unsqueeze', 'features', g.constant([1]))
    all_leads = g.op('Concat', present, mean, axis=1)                        # (B,S+1,N,D)
    fused, _ = heads(all_leads, [-1, steps + 1], 'fused_depth')
    g.op('Cast', fused, output='fused_labels', to=TensorProto.UINT8)
    ahead = g.op('Unsqueeze', g.part(fused, 1, 1, steps + 1), g.constant([1]))
    agree = g.op('Cast', g.op('Equal', labels, ahead), to=TensorProto.FLOAT)
    share = g.op('ReduceSum', g.op('Mul', agree, weights), g.constant([1]), keepdims=0)
    ones = g.op('Add', g.op('Mul', g.part(share, 1, 0, 1), g.constant(0.0)), g.constant(1.0))
    g.op('Concat', ones, share, axis=1, output='confidence')
    fused_shape = ('B', steps + 1, height, width)
    futures_shape = ('B', 'K', steps, height, width)
    return g.model(
        'decode',
        {'features': ('B', patches, size), 'tokens': ('B', 'K', steps, m.token_size),
         'weights': ('B', 'K')},
        {'labels': futures_shape, 'depth': futures_shape, 'fused_labels': fused_shape,
         'fused_depth': fused_shape, 'confidence': fused_shape,
         'future_features': ('B', 'K', steps, patches, size)})


def _paint(m: Manifest) -> onnx.ModelProto:
    g = _Graph()
    colours = g.op('Mul', g.part('features', 2, 0, 3), g.constant(255.0))
    colours = g.op('Clip', colours, g.constant(0.0), g.constant(255.0))
    grid = g.op('Reshape', colours, g.constant([0, m.feature_rows, 1, m.feature_columns, 1, 3]))
    wide = g.op('Tile', grid, g.constant([1, 1, PATCH, 1, PATCH, 1]))
    picture = g.op('Reshape', wide, g.constant([0, m.image_height, m.image_width, 3]))
    g.op('Cast', picture, output='picture', to=TensorProto.UINT8)
    return g.model('paint', {'features': ('B', m.num_patches, m.feature_size)},
                   {'picture': ('B', m.image_height, m.image_width, 3)})


def _run(folder: Path, graph: str, **inputs: Array) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / f'{graph}.onnx').read_bytes(), options, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))
