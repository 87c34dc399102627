# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the warping tokenizer and of the predictor that starts from the last token."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from deltaworld_ros.engine.tensorrt.build import build_plan
from deltaworld_ros.model.residual_world import ResidualWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_ros.model.warp_tokenizer import WarpDeltaTok

GRID = (4, 6)
SIZES = {'feature_size': 16, 'grid': GRID, 'token_size': 24, 'size': 32, 'heads': 2,
         'encoder_layers': 1, 'decoder_layers': 2, 'mlp_size': 48}


def tokenizer(trained: bool = False) -> WarpDeltaTok:
    """Return a small tokenizer; a trained one has no layer of zeros any more."""
    torch.manual_seed(0)
    model = WarpDeltaTok(**SIZES).eval()
    if trained:
        for layer in (model.flow_token, model.flow_patch, model.warp_input, model.decoder_output):
            torch.nn.init.normal_(layer.weight, std=0.1)
    return model


def features(count: int) -> torch.Tensor:
    """Return smooth random features (B, N, D)."""
    torch.manual_seed(1)
    coarse = torch.randn(count, 16, 2, 3)
    return F.interpolate(coarse, GRID, mode='bilinear').flatten(2).transpose(1, 2)


@torch.no_grad()
def test_untrained_decoder_returns_the_previous_frame() -> None:
    """Whatever the token: a new tokenizer forecasts that nothing changes."""
    model, frame = tokenizer(), features(3)
    token = 10.0 * torch.randn(3, SIZES['token_size'])
    torch.testing.assert_close(model.decode(token, frame), frame, rtol=0, atol=0)
    assert not torch.equal(tokenizer(trained=True).decode(token, frame), frame)


@torch.no_grad()
def test_the_encoder_finds_where_features_come_from() -> None:
    """Features that moved by a cell are found there, those of the black frame nowhere."""
    model = tokenizer()
    torch.manual_seed(2)
    previous = torch.randn(2, GRID[0] * GRID[1], 64)
    model.encoder_match = torch.nn.Linear(64, 64, bias=False)
    model.encoder_sharpness.fill_(4.0)
    maps = previous.unflatten(1, GRID)
    current = maps.roll((1, -2), dims=(1, 2)).flatten(1, 2)
    found, motion = model.match(previous, current)
    inside = torch.zeros(GRID, dtype=torch.bool)
    inside[1:, :-2] = True
    inside = inside.flatten()
    way = motion[:, inside]
    torch.testing.assert_close(way, torch.tensor([-1.0, 2.0]).expand_as(way), atol=0.1, rtol=0.0)
    torch.testing.assert_close(found[:, inside], current[:, inside], atol=0.2, rtol=0.1)
    _, still = model.match(torch.zeros_like(previous), current)
    assert float(still.unflatten(1, GRID)[:, 1:3, 2:4].abs().max()) <= 1.0


def test_warp_samples_bilinearly_and_stops_at_the_border() -> None:
    """The product with weights equals torch's own sampling, and has its gradients."""
    model, frame = tokenizer(), features(2)
    flow = (4.0 * torch.randn(2, GRID[0] * GRID[1], 2)).requires_grad_()
    moved = model.warp(frame, flow)
    rows, columns = (torch.arange(float(size)) for size in GRID)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), -1).flatten(0, 1)
    place = (grid + flow).unflatten(1, GRID).flip(-1)
    size = torch.tensor([GRID[1], GRID[0]])
    expected = F.grid_sample(
        frame.transpose(1, 2).unflatten(2, GRID), (2 * place + 1) / size - 1,
        padding_mode='border', align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)
    ours, = torch.autograd.grad(moved.square().sum(), flow, retain_graph=True)
    theirs, = torch.autograd.grad(expected.square().sum(), flow)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_whole_steps_move_features_unchanged() -> None:
    """A flow of one cell to the right takes exactly the neighbours' features."""
    model, frame = tokenizer(), features(1)
    flow = torch.zeros(1, GRID[0] * GRID[1], 2)
    flow[..., 1] = 1.0
    moved = model.warp(frame, flow).unflatten(1, GRID)
    torch.testing.assert_close(moved[:, :, :-1], frame.unflatten(1, GRID)[:, :, 1:])


@torch.no_grad()
def test_anchor_token_is_the_pair_with_the_black_frame() -> None:
    """Both tokens of one pass equal those of single passes."""
    model, frame = tokenizer(), features(4)
    delta, anchor = model.encode_with_anchor(frame[:2], frame[2:])
    torch.testing.assert_close(delta, model.encode(frame[:2], frame[2:]))
    torch.testing.assert_close(anchor, model.encode_anchor(frame[2:]))
    assert (delta - anchor).abs().max() > 1e-3


def test_learns_to_move() -> None:
    """Training on frames that shift by one cell leaves a fraction of copy-last's error."""
    model, frame = tokenizer().train(), features(64)
    shifted = frame.unflatten(1, GRID).roll(1, 2).flatten(1, 2)
    copy = (frame - shifted).square().mean()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        loss = (model.decode(model.encode(frame, shifted), frame) - shifted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * copy


class Decoder(torch.nn.Module):
    """Decode alone, as a graph has it."""

    def __init__(self, model: WarpDeltaTok):
        """Take the tokenizer."""
        super().__init__()
        self.model = model

    def forward(self, token: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        """Decode tokens on the previous features."""
        return self.model.decode(token, previous)


def export_decoder(model: WarpDeltaTok, path: Path) -> None:
    """Write the decoder as a graph for any number of futures."""
    futures = torch.export.Dim('futures', min=1, max=64)
    torch.onnx.export(
        Decoder(model), (torch.randn(2, SIZES['token_size']), features(2)), path,
        input_names=['token', 'previous'], output_names=['features'],
        dynamic_shapes={'token': {0: futures}, 'previous': {0: futures}}, opset_version=18,
        dynamo=True, verbose=False, external_data=False)


@torch.no_grad()
def test_decoder_runs_in_onnxruntime(tmp_path: Path) -> None:
    """The exported decoder computes what torch does, for another number of futures too."""
    model, frame = tokenizer(trained=True), features(5)
    token = torch.randn(5, SIZES['token_size'])
    export_decoder(model, tmp_path / 'decoder.onnx')
    session = onnxruntime.InferenceSession(
        str(tmp_path / 'decoder.onnx'), providers=['CPUExecutionProvider'])
    found = session.run(None, {'token': token.numpy(), 'previous': frame.numpy()})[0]
    np.testing.assert_allclose(found, model.decode(token, frame).numpy(), atol=1e-4)


def test_decoder_builds_for_tensorrt(tmp_path: Path) -> None:
    """TensorRT-RTX builds the exported decoder; the test above runs the same graph."""
    trt = pytest.importorskip(
        'tensorrt_rtx_bindings',
        reason='pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs (x86-64 Linux)')
    export_decoder(tokenizer(trained=True), tmp_path / 'decoder.onnx')
    futures = {0: (1, 2, 8)}
    plan = build_plan(
        trt, (tmp_path / 'decoder.onnx').read_bytes(), {'token': futures, 'previous': futures},
        ('8.6',), 'decode', lambda *_: None)
    assert len(plan) > 10_000


def test_residual_world_repeats_the_last_token_at_first() -> None:
    """Without a trained head a sample's tokens are shares of the last known one."""
    torch.manual_seed(0)
    world = ResidualWorld(size=64, heads=1, layers=1, mlp_size=32, token_size=8).eval()
    torch.nn.init.zeros_(world.predictor.head.weight)
    torch.nn.init.zeros_(world.predictor.head.bias)
    tokens, noise = torch.randn(2, 4, 8), 0.02 * torch.randn(2, 5, 3, 4)
    table = time_table(torch.arange(7) * 0.2, time_frequencies())
    cos, sin = (value.expand(2, -1, -1) for value in table)
    with torch.no_grad():
        found = world.rollout(tokens, (cos, sin), noise)
    expected = tokens[:, None, -1:] * (0.5 ** torch.arange(1, 4))[:, None]
    torch.testing.assert_close(found, expected.expand(-1, 5, -1, -1))


@torch.no_grad()
def test_residual_world_hears_the_noise_and_the_last_token() -> None:
    """Samples differ, and the query changes with the last token beside the context."""
    torch.manual_seed(0)
    world = ResidualWorld(size=64, heads=1, layers=1, mlp_size=32, token_size=8).eval()
    noise, last = 0.02 * torch.randn(1, 3, 4), torch.randn(1, 1, 8)
    assert world.start(noise, last).std(1).mean() > 0.1
    assert (world.start(noise, last) - world.start(noise, -last)).abs().mean() > 0.01
