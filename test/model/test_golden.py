# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The model computes the same function as the released implementation."""

import glob
import json
import os
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from support.parameter_values import fill
from torch import nn

from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import patch_table, time_frequencies, time_table

DATA = Path(__file__).resolve().parents[1] / 'data'
TOLERANCE = 2e-4
FILES = [str(DATA / 'tiny.npz')] + sorted(
    glob.glob(os.environ.get('DELTAWORLD_GOLDEN', ''), recursive=True))


class Golden(typing.NamedTuple):
    """The arrays of one golden file and what our model makes of its inputs."""

    arrays: dict[str, np.ndarray]
    computed: dict[str, np.ndarray]


def compute(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run every module on the inputs of a golden file."""
    config = json.loads(str(arrays['config']))
    size, heads, context = config['hidden_size'], config['num_heads'], config['context']
    grid = (config['height'] // 16, config['width'] // 16)
    backbone = fill(DinoV3(size, heads, config['backbone_layers'], config['backbone_mlp']),
                    'backbone')
    tokenizer = fill(DeltaTok(size, heads, config['tokenizer_layers'], config['tokenizer_mlp']),
                     'deltatok')
    world = fill(DeltaWorld(size, heads, config['predictor_layers'], config['predictor_mlp']),
                 'deltaworld')
    segmentation = fill(SegmentationHead(size, config['num_classes']), 'seg_head')
    depth = fill(DepthHead(size), 'depth_head')

    frames = torch.from_numpy(arrays['frames'])
    batch, count = frames.shape[:2]
    features = backbone(frames.flatten(0, 1)).unflatten(0, (batch, count))
    black = backbone(torch.zeros_like(frames[:, 0]))
    previous = torch.cat([black[:, None], features[:, :-1]], dim=1)
    tokens = tokenizer.encode(
        previous.flatten(0, 1), features.flatten(0, 1), grid).unflatten(0, (batch, count))

    noise = torch.from_numpy(arrays['noise'])[:, :, :, 0].permute(1, 2, 0, 3)
    steps = noise.shape[2]
    times = torch.from_numpy(arrays['timestamps'])[:, :context + steps]
    table = time_table(times - times[:, :1], time_frequencies())
    futures = world.rollout(tokens[:, :context], table, noise)
    predictions = []
    for sample in range(noise.shape[1]):
        current, decoded = features[:, context - 1], []
        for step in range(steps):
            current = tokenizer.decode(futures[:, sample, step], current, grid)
            decoded.append(current)
        predictions.append(torch.stack(decoded, dim=1))
    predicted = torch.stack(predictions, dim=1)

    reconstructions, current = [], features[:, context - 1]
    for step in range(steps):
        token = tokenizer.encode(current, features[:, context + step], grid)
        current = tokenizer.decode(token, current, grid)
        reconstructions.append(current)
    mean = predicted[:, :, -1].mean(1).transpose(1, 2).unflatten(2, grid)
    target = features[:, context + steps - 1][:, None].expand_as(predicted[:, :, -1])
    loss = nn.functional.smooth_l1_loss(
        predicted[:, :, -1], target, beta=0.1, reduction='none').mean((-1, -2))
    cos, sin = patch_table(*grid, size // heads)
    return {name: value.numpy() for name, value in {
        'features': features, 'black_features': black[:1], 'rope_cos': cos, 'rope_sin': sin,
        'delta_tokens': tokens, 'predictions': predicted,
        'reconstructions': torch.stack(reconstructions, dim=1),
        'mean_seg_logits': segmentation(mean), 'mean_depth': depth(mean),
        'best_index': loss.argmin(1),
    }.items()}


@pytest.fixture(scope='module', params=FILES, ids=[Path(f).stem for f in FILES])
def golden(request: pytest.FixtureRequest) -> Golden:
    """Load a golden file and run the model on it once."""
    with np.load(request.param, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    with torch.no_grad():
        return Golden(arrays, compute(arrays))


def test_equals_the_released_implementation(golden: Golden) -> None:
    """Every array agrees within 2e-4, and the best sample is the same."""
    expected = {k: v for k, v in golden.arrays.items() if k in golden.computed}
    assert set(golden.arrays) - set(expected) <= {'config', 'frames', 'timestamps', 'noise'}
    differences = {}
    for name, array in expected.items():
        computed = golden.computed[name]
        if name == 'black_features':
            computed = np.broadcast_to(computed, array.shape)
        assert computed.shape == array.shape, name
        differences[name] = float(np.abs(computed.astype(np.float64) - array).max())
    assert max(differences.values()) <= TOLERANCE, differences


def shapes(module: nn.Module) -> dict[str, list[int]]:
    """Return every entry of a module's state with its shape."""
    return {name: list(value.shape) for name, value in module.state_dict().items()}


@pytest.mark.parametrize('name, module', [
    ('backbone', DinoV3()), ('deltatok', DeltaTok()), ('deltaworld', DeltaWorld()),
    ('seg_head', SegmentationHead(768, 19)), ('depth_head', DepthHead(768)),
], ids=lambda value: value if isinstance(value, str) else '')
def test_parameters_of_vit_b_have_the_released_names(name: str, module: nn.Module) -> None:
    """At ViT-B size every name and shape is that of the released checkpoint."""
    assert shapes(module) == json.loads((DATA / 'vitb_keys.json').read_text())[name]


def test_backbone_equals_the_transformers_library() -> None:
    """Our DINOv3 equals the transformers implementation on random weights."""
    transformers = pytest.importorskip('transformers')
    config = transformers.DINOv3ViTConfig(
        hidden_size=192, num_attention_heads=3, num_hidden_layers=3, intermediate_size=768,
        num_register_tokens=4, layerscale_value=1.0, key_bias=False)
    reference = transformers.DINOv3ViTModel(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    ours = DinoV3(192, 3, 3, 768).eval()
    state = {name.removeprefix('model.'): value for name, value in reference.state_dict().items()}
    ours.load_state_dict(state)
    image = torch.randint(0, 256, (2, 3, 80, 112), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        normalised = (image / 255.0 - ours.mean) / ours.std
        expected = reference(normalised).last_hidden_state[:, 5:]
        assert torch.allclose(ours(image), expected, atol=TOLERANCE)
