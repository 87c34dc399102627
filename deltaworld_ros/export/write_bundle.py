# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Export trained networks as a bundle: its ONNX graphs, golden arrays and the manifest."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from deltaworld_ros.bundle.lead_outputs import lead_outputs
from deltaworld_ros.bundle.manifest import Manifest, write_manifest
from deltaworld_ros.bundle.motion import VALUES
from deltaworld_ros.export.graph_weights import name_weights
from deltaworld_ros.export.graphs import PaintGraph, graph_modules
from deltaworld_ros.export.precision import Precision, typed_networks, typed_painter
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.painter import Painter
from deltaworld_ros.model.rotary import time_table

OPSET = 18
# Below this many values a tensor's precision costs nothing worth saving.
MIN_HALF_TENSOR = 256
HALF = '.half'   # ends the names of constants that are stored so
# Two futures prove a decoder as well as six and keep golden.npz small.
GOLDEN_FUTURES = 2
OUTPUTS = {
    'observe': ('features', 'delta_token', 'anchor_token'),
    'rollout': ('future_tokens',),
    'decode': (
        'labels', 'depth', 'fused_labels', 'fused_depth', 'confidence', 'future_features',
        'class_probabilities'),
    'paint': ('picture',),
}


def export_bundle(
    folder: Path, manifest: Manifest, networks: Networks, frames: np.ndarray, stamps: np.ndarray,
    baselines: dict[str, np.ndarray] | None, licences: str, half_weights: bool = True,
    precision: Precision = 'fp32', painter: Painter | None = None,
) -> Manifest:
    """
    Write a bundle folder, with a graph `paint` where there is a painter.

    Frames (T, h, w, 3) uint8 at stamps (T,) in seconds become the golden arrays of the float32
    networks, which every engine must reproduce. The graphs compute in `precision` (see
    `bundle.precision`); with `half_weights` what is float32 is stored in half precision and cast
    back when loaded. Returns the manifest with the files' hashes, those of files there before too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Temperatures say that confidence is a probability, as these graphs compute it.
    manifest = Manifest(**{
        **vars(manifest),
        'temperatures': manifest.temperatures or [1.0] * (manifest.steps + 1)})
    typed = graph_modules(typed_networks(networks, precision), manifest)
    if painter is not None:
        typed['paint'] = PaintGraph(typed_painter(painter, precision)).eval()
    with torch.no_grad():
        golden = golden_arrays(graph_modules(networks, manifest), manifest, frames, stamps)
        for name, module in typed.items():
            _export_graph(
                module, name, manifest, folder / f'{name}.onnx', half_weights, networks.sizes)
        if painter is not None:
            picture = PaintGraph(painter)(torch.from_numpy(golden['features'][-1:]))
            golden['picture'] = picture.numpy()
    _save_arrays(folder / 'golden.npz', golden)
    if baselines is not None:
        _save_arrays(folder / 'baselines.npz', baselines)
    (folder / 'LICENSES.md').write_text(licences, encoding='utf-8')
    return write_manifest(folder, manifest)


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


def golden_arrays(
    modules: dict[str, nn.Module], manifest: Manifest, frames: np.ndarray, stamps: np.ndarray,
) -> dict[str, np.ndarray]:
    """Run the float32 modules on a context of frames; the keys are those of golden.npz."""
    images = torch.from_numpy(frames)
    count, steps = manifest.context_length, manifest.steps
    features: list[Tensor] = []
    deltas, anchors = [], []
    previous = torch.zeros(1, manifest.num_patches, manifest.feature_size)
    for index in range(count):
        current, delta, anchor = modules['observe'](images[index:index + 1], previous)
        features.append(current)
        deltas.append(delta)
        anchors.append(anchor)
        previous = current
    tokens = torch.stack([anchors[0]] + deltas[1:], dim=1)
    future_times = stamps[-1] + manifest.stride * np.arange(1, steps + 1)
    times = torch.from_numpy(np.concatenate([stamps, future_times]) - stamps[-1])
    cos, sin = time_table(times, torch.tensor(manifest.rotary_frequencies, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    shape = (1, GOLDEN_FUTURES, steps, manifest.noise_size)
    noise = manifest.noise_std * torch.randn(shape, generator=generator)
    if manifest.queries == 'kept':
        noise = noise[:, :, :1].expand(shape).contiguous()
    given = {'motion': golden_motion(manifest)} if manifest.motion else {}
    future = modules['rollout'](tokens, cos[None], sin[None], noise, *given.values())
    weights = torch.linspace(2.0, 1.0, GOLDEN_FUTURES)[None]
    weights = weights / weights.sum()
    maps = modules['decode'](features[-1], future, weights)
    arrays = {
        'frames': images, 'stamps': torch.from_numpy(stamps), 'noise': noise,
        'features': torch.cat(features), 'delta_tokens': torch.cat(deltas),
        'anchor_tokens': torch.cat(anchors), 'tokens': tokens, 'future_tokens': future,
        'weights': weights, **given, **dict(zip(OUTPUTS['decode'][:5], maps, strict=False)),
    }
    return {name: value.numpy() for name, value in arrays.items()}


def golden_motion(manifest: Manifest) -> Tensor:
    """Return a motion (1, T + S, 3): a turn that grows tighter while the robot brakes."""
    count = manifest.context_length + manifest.steps
    motion = torch.stack([
        torch.linspace(9.0, 3.0, count), torch.linspace(-0.1, 0.4, count), torch.ones(count)], 1)
    return motion[None]


def _export_graph(
    module: nn.Module, name: str, manifest: Manifest, path: Path, half_weights: bool,
    sizes: dict[str, dict[str, Any]],
) -> None:
    inputs = example_inputs(name, manifest)
    inner = lead_outputs(manifest.steps) if name == 'decode' else []
    torch.onnx.export(
        module, tuple(inputs.values()), path, input_names=list(inputs),
        output_names=[*OUTPUTS[name], *inner],
        dynamic_shapes=_dynamic_axes(name, manifest.motion), opset_version=OPSET, dynamo=True,
        external_data=False, verbose=False)
    graph = onnx.load(path)
    name_weights(graph, module, sizes)
    if half_weights:
        store_half_weights(graph)
    # The exporter writes the paths of the source files that it traced into every node.
    for node in graph.graph.node:
        node.ClearField('metadata_props')
        node.ClearField('doc_string')
    graph.graph.ClearField('value_info')
    # Named as outputs only so that the exporter keeps their names.
    del graph.graph.output[len(OUTPUTS[name]):]
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def example_inputs(name: str, manifest: Manifest) -> dict[str, Tensor]:
    """Return inputs of a graph, a batch of two."""
    m = manifest
    features = torch.zeros(2, m.num_patches, m.feature_size)
    if name == 'observe':
        image = torch.zeros(2, m.image_height, m.image_width, 3, dtype=torch.uint8)
        return {'image': image, 'previous_features': features}
    if name == 'rollout':
        table = torch.zeros(2, m.context_length + m.steps, len(m.rotary_frequencies))
        return {
            'tokens': torch.zeros(2, m.context_length, m.token_size),
            'rotary_cos': table + 1.0, 'rotary_sin': table,
            'noise': torch.zeros(2, 3, m.steps, m.noise_size),
            **({'motion': torch.zeros(*table.shape[:2], VALUES)} if m.motion else {})}
    if name == 'paint':
        return {'features': features}
    return {
        'features': features, 'tokens': torch.zeros(2, 3, m.steps, m.token_size),
        'weights': torch.full((2, 3), 1.0 / 3.0)}


def _dynamic_axes(name: str, motion: bool) -> tuple[dict[int, Any], ...]:
    """Return which axes of the inputs of `example_inputs` are dynamic."""
    batch, samples = torch.export.Dim('B', min=1, max=64), torch.export.Dim('M', min=1, max=65536)
    futures = torch.export.Dim('K', min=1, max=256)
    if name == 'observe':
        return {0: batch}, {0: batch}
    if name == 'rollout':
        given = {0: batch}, {0: batch}, {0: batch}, {0: batch, 1: samples}
        return (*given, {0: batch}) if motion else given
    if name == 'paint':
        return ({0: batch},)
    return {0: batch}, {0: batch, 1: futures}, {0: batch, 1: futures}


def store_half_weights(model: onnx.ModelProto) -> None:
    """Replace large float32 constants by float16 ones with a cast, which engines fold at load."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < MIN_HALF_TENSOR:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f'{name}{HALF}'))
        casts.append(helper.make_node(
            'Cast', [f'{name}{HALF}'], [name], name=f'{name}.cast', to=TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
