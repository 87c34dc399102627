# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The released variants beside the main one, at ViT-B size, equal the networks they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.released_files import random_tensors
from torch import Tensor

from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.export.convert import read_networks
from deltaworld_ros.export.converted_bundle import converted_manifest
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_ros.model.spatial_world import SpatialWorld

pytestmark = pytest.mark.timeout(1200)
SHAPES = json.loads((Path(__file__).parents[1] / 'data' / 'vitb_keys.json').read_text())
SIZE, GRID, PATCHES = (64, 96), (4, 6), 24
TIMES = [-0.61, -0.4, -0.19, 0.0, 0.2, 0.4, 0.6]


def shapes_of(part: str, learned: bool = False) -> dict[str, list[int]]:
    """Return the released names and shapes; a learned query is one tensor more."""
    return {**SHAPES[part], **({'q_embed.weight': [1, 768]} if learned else {})}


@pytest.fixture(scope='module')
def common(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write the files that every variant has."""
    folder = tmp_path_factory.mktemp('released')
    save_file(random_tensors(SHAPES['backbone'], 0), folder / 'model.safetensors')
    for seed, part in enumerate(('seg_head', 'depth_head'), 1):
        torch.save(random_tensors(SHAPES[part], seed), folder / f'{part}.bin')
    return {'backbone': str(folder), 'depth': str(folder / 'depth_head.bin'),
            'seg': str(folder / 'seg_head.bin')}


def forecast(common: dict[str, str], tokens: Any, **parts: str) -> tuple[Tensor, Tensor, Tensor]:
    """Convert, and run the graphs: context features, noise and decoded futures (1, M, S, N, D)."""
    converted = read_networks(
        {'backbone': common['backbone'], 'depth': common['depth'], **parts},
        {'cityscapes': common['seg']}, {}, SIZE, tokens)
    manifest = converted_manifest(converted, 'full')
    modules = graph_modules(converted.networks, manifest)
    generator = torch.Generator().manual_seed(9)
    frames = torch.randint(0, 256, (4, *SIZE, 3), dtype=torch.uint8, generator=generator)
    samples = min(2, manifest.num_samples)
    noise = 0.02 * torch.randn(1, samples, 3, manifest.noise_size, generator=generator)
    previous, kept, context = torch.zeros(1, PATCHES, 768), [], []
    for frame in frames:
        previous, delta, anchor = modules['observe'](frame[None], previous)
        kept.append(previous)
        context.append(delta if context else anchor)
    cos, sin = (torch.from_numpy(table)[None]
                for table in time_tables(TIMES, manifest.rotary_frequencies))
    future = modules['rollout'](torch.stack(context, 1), cos, sin, noise)
    weights = torch.full((1, samples), 1 / samples)
    decoded = modules['decode'](previous, future, weights)[5]
    backbone = DinoV3().eval()
    backbone.load_state_dict(random_tensors(SHAPES['backbone'], 0), assign=True)
    features = torch.cat(kept)
    assert float((features - backbone(frames.permute(0, 3, 1, 2))).abs().max()) < 1e-4
    return features[None], noise, decoded


def write(path: Path, part: str, seed: int, make: Callable[[], torch.nn.Module],
          learned: bool = False) -> torch.nn.Module:
    """Write a released file, and return the network that has its values."""
    tensors = random_tensors(shapes_of(part, learned), seed)
    torch.save({'state_dict': {f'network.{name}': value for name, value in tensors.items()}},
               path)
    with torch.device('meta'):
        module = make()
    module.load_state_dict(tensors, assign=True)
    return module.eval()


@torch.no_grad()
@pytest.mark.parametrize('learned', [False, True])
def test_frame_tokens(common: dict[str, str], tmp_path: Path, learned: bool) -> None:
    tokenizer: Any = write(
        tmp_path / 'tokenizer.bin', 'deltatok', 3, lambda: DeltaTok(frame_tokens=True))
    world: Any = write(tmp_path / 'world.bin', 'deltaworld', 4,
                       lambda: DeltaWorld(learned_query=learned), learned)
    features, noise, decoded = forecast(
        common, 'frame', tokenizer=str(tmp_path / 'tokenizer.bin'),
        world=str(tmp_path / 'world.bin'))
    blank = torch.zeros(4, PATCHES, 768)
    context = tokenizer.encode(blank, features[0], GRID)[None]
    table = time_table(torch.tensor([TIMES], dtype=torch.float64), time_frequencies())
    future = world.rollout(context, table, noise)
    expected = tokenizer.decode(
        future.flatten(0, 2), blank[:1].expand(future[..., 0].numel(), -1, -1), GRID)
    assert decoded.shape[1] == (1 if learned else 2) and float(expected.std()) > 0.1
    assert float((decoded.flatten(0, 2) - expected).abs().max()) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize('learned', [False, True])
def test_dino_world(common: dict[str, str], tmp_path: Path, learned: bool) -> None:
    world: Any = write(tmp_path / 'world.bin', 'deltaworld', 5,
                       lambda: SpatialWorld(learned_query=learned), learned)
    features, noise, decoded = forecast(common, 'patch', world=str(tmp_path / 'world.bin'))
    expected = world.rollout(features, torch.tensor([TIMES], dtype=torch.float64), noise, GRID)
    assert expected.shape == decoded.shape and float(expected.std()) > 0.1
    assert float((decoded - expected).abs().max()) < 1e-4


@torch.no_grad()
def test_delta_tokens_with_a_learned_query(common: dict[str, str], tmp_path: Path) -> None:
    tokenizer: Any = write(tmp_path / 'tokenizer.bin', 'deltatok', 6, DeltaTok)
    world: Any = write(tmp_path / 'world.bin', 'deltaworld', 7,
                       lambda: DeltaWorld(learned_query=True), True)
    features, noise, decoded = forecast(
        common, 'delta', tokenizer=str(tmp_path / 'tokenizer.bin'),
        world=str(tmp_path / 'world.bin'))
    backbone = DinoV3().eval()
    backbone.load_state_dict(random_tensors(SHAPES['backbone'], 0), assign=True)
    black = backbone(torch.zeros(1, 3, *SIZE, dtype=torch.uint8))
    before = torch.cat([black, features[0, :-1]])
    context = tokenizer.encode(before, features[0], GRID)[None]
    table = time_table(torch.tensor([TIMES], dtype=torch.float64), time_frequencies())
    current = features[:, -1]
    for step, token in enumerate(world.rollout(context, table, noise)[0, 0]):
        current = tokenizer.decode(token[None], current, GRID)
        assert float((decoded[0, 0, step] - current[0]).abs().max()) < 1e-4
    assert float(current.std()) > 0.1
