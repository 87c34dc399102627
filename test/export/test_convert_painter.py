# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The released RGB head becomes a graph that paints, in float32 and in half precision."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from support.released_files import painter_shapes, random_tensors
from support.vit_bundle import vit_manifest, vit_networks
from torch import Tensor

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoints import read_checkpoint
from deltaworld_ros.export.graphs import PaintGraph
from deltaworld_ros.export.painter import load_painter, read_painter, save_painter
from deltaworld_ros.export.precision import Precision, typed_painter
from deltaworld_ros.export.write_bundle import _export_graph
from deltaworld_ros.model.dinov3 import IMAGENET_MEAN, IMAGENET_STD
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.painter import Painter

GRID = (4, 6)


def painted(t: dict[str, Tensor], features: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    """Paint by the formulas of the release: pictures (B, 3, h, w), not cut off."""
    def linear(x: Tensor, name: str) -> Tensor:
        return x @ t[f'{name}.weight'].T + t[f'{name}.bias']

    def normed(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], t[f'{name}.weight'], t[f'{name}.bias'], 1e-12)

    def heads(x: Tensor) -> Tensor:
        return x.view(len(x), -1, 16, x.shape[-1] // 16).transpose(1, 2)
    (rows, columns), batch = GRID, len(features)
    x = linear((features - norm.bias) / norm.weight, 'decoder_embed')
    places = t['decoder_pos_embed']
    side = math.isqrt(places.shape[1] - 1)
    patches = F.interpolate(places[:, 1:].transpose(1, 2).reshape(1, -1, side, side),
                            (rows, columns), mode='bicubic').flatten(2).transpose(1, 2)
    x = torch.cat([t['trainable_cls_token'].repeat(batch, 1, 1), x], 1) \
        + torch.cat([places[:, :1], patches], 1)
    for layer in range(2):
        block = f'decoder_layers.{layer}.'
        y = normed(x, f'{block}layernorm_before')
        attended = F.scaled_dot_product_attention(*(
            heads(linear(y, f'{block}attention.attention.{name}'))
            for name in ('query', 'key', 'value')))
        x = x + linear(attended.transpose(1, 2).flatten(2), f'{block}attention.output.dense')
        y = F.gelu(linear(normed(x, f'{block}layernorm_after'), f'{block}intermediate.dense'))
        x = x + linear(y, f'{block}output.dense')
    pixels = linear(normed(x, 'decoder_norm'), 'decoder_pred')[:, 1:]
    picture = torch.einsum(
        'brcpqk->bkrpcq', pixels.view(batch, rows, columns, 16, 16, 3)
    ).reshape(batch, 3, 16 * rows, 16 * columns)
    return picture * torch.tensor(IMAGENET_STD)[:, None, None] \
        + torch.tensor(IMAGENET_MEAN)[:, None, None]


@pytest.fixture(scope='module')
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('rgb') / 'rgb-head-imagenet.bin'
    tensors = random_tensors(painter_shapes(), 3)
    torch.save({'state_dict': {
        'network.' + name: value for name, value in tensors.items()}
        | {'img_mean': torch.zeros(1, 3, 1, 1)}}, path)
    return path


@pytest.fixture(scope='module')
def features() -> Tensor:
    return torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(0))


def networks() -> Networks:
    return vit_networks(1, 64, 1, GRID)


def test_released_files_paint_what_the_formulas_paint(
        released: Path, features: Tensor, tmp_path: Path) -> None:
    painter, left_out = load_painter(read_checkpoint(released, 'painter'), networks())
    assert left_out == ['img_mean']
    expected = painted(
        random_tensors(painter_shapes(), 3), features, networks().backbone.norm)
    with torch.no_grad():
        found = painter.eval()(features)
    inside = (expected > 0) & (expected < 1)
    assert 0.2 < inside.float().mean() < 1.0
    torch.testing.assert_close(
        found.permute(0, 3, 1, 2), expected.clamp(0, 1), atol=1e-4, rtol=0.0)
    save_painter(painter, tmp_path / 'painter.safetensors')
    again = read_painter(tmp_path / 'painter.safetensors', networks())
    with torch.no_grad():
        assert torch.equal(again(features), found)


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_the_graph_paints_the_same(
        released: Path, features: Tensor, precision: Precision, tmp_path: Path) -> None:
    painter, _ = load_painter(read_checkpoint(released, 'painter'), networks())
    manifest: Manifest = vit_manifest(networks())
    with torch.no_grad():
        _export_graph(PaintGraph(typed_painter(painter, precision)).eval(), 'paint', manifest,
                      tmp_path / 'paint.onnx', half_weights=False, sizes={})
        expected = PaintGraph(painter.eval())(features).numpy()
    session = onnxruntime.InferenceSession(tmp_path / 'paint.onnx')
    [picture] = session.run(None, {'features': features.numpy()})
    assert picture.shape == (2, 64, 96, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - expected).mean() < (0.1 if precision == 'fp32' else 2.0)


def test_the_release_has_these_names_and_sizes() -> None:
    """28 layers of 1152: 413 million parameters."""
    shapes = painter_shapes(768, 1152, 28, 4096, 1024)
    with torch.device('meta'):
        state = Painter().state_dict()
    assert sum(value.numel() for value in state.values()) == pytest.approx(413e6, rel=0.01)
    assert {name: list(value.shape) for name, value in state.items()} == shapes


def test_what_does_not_fit_is_one_line(released: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(released, 'painter')
    with pytest.raises(UserError, match='width 128: the RGB head is for 64'):
        load_painter(checkpoint, vit_networks(1, 128, 2, GRID))
    for change, says in (({'decoder_norm.bias': None}, 'missing: decoder_norm.bias'),
                         ({'decoder_pos_embed': torch.zeros(1, 12, 64)}, 'of a square grid'),
                         ({'decoder_layers.2.x': torch.zeros(1)}, 'decoder_layers.2')):
        tensors = {name: value for name, value in {**checkpoint.tensors, **change}.items()
                   if value is not None}
        torch.save(tensors, tmp_path / 'broken.bin')
        with pytest.raises(UserError, match=says):
            load_painter(read_checkpoint(tmp_path / 'broken.bin', 'painter'), networks())


