# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One optimiser step of each released stage equals one computed from the formulas alone."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from support.training_batches import GRID, TinyData, save_random
from torch import Tensor

from deltaworld_training.stages.noise import SampleNoise
from deltaworld_training.stages.parts import load_part
from deltaworld_training.stages.predictor import QUERIES, PredictorStage
from deltaworld_training.stages.spatial_predictor import SpatialPredictorStage
from deltaworld_training.stages.stage import Stage
from deltaworld_training.stages.tokenizer import TokenizerStage

# float32 against float64; Adam's first step divides each gradient by its own size.
LOSS, GRADIENT, PARAMETER = 1e-6, 2e-6, 4e-5
SIZE, HEADS, BATCH, PATCHES, CANDIDATES = 128, 2, 3, GRID[0] * GRID[1], 5
RATE, DECAY, SEED = 1e-3, 0.3, 11
TOKENIZER = {'kind': 'delta', 'grid': list(GRID), 'size': SIZE, 'heads': HEADS, 'layers': 2,
             'mlp_size': 96, 'gated': True, 'layer_scale': 0.5}
WORLD = {'size': SIZE, 'heads': HEADS, 'layers': 2, 'mlp_size': 96, 'layer_scale': 0.5}
Parameters = dict[str, Tensor]


def clip_of(index: int) -> dict[str, Any]:
    """Return features of five frames at irregular times."""
    generator = torch.Generator().manual_seed(100 + index)
    return {
        'features': torch.randn(5, PATCHES, SIZE, generator=generator).numpy(),
        'times': (3.7 + 0.2 * index + torch.rand(
            5, generator=generator, dtype=torch.float64).mul(0.3).cumsum(0)).numpy()}


class Recorder(lightning.Callback):
    """Keep the batch and the loss of the only step."""

    def on_train_batch_start(self, trainer: Any, stage: Any, batch: Any, index: int) -> None:
        """Keep the batch in float64."""
        self.batch = {name: value.double() for name, value in batch.items()}

    def on_train_batch_end(self, trainer: Any, stage: Any, outputs: Any, *_: Any) -> None:
        """Keep the loss."""
        self.loss = float(outputs['loss'])


def step(stage: Stage, clip: float | None) -> tuple[Recorder, Parameters]:
    """Train for one step; return what was seen and the parameters of before in float64."""
    torch.set_num_threads(1)
    with torch.no_grad():
        torch.manual_seed(5)
        for name, parameter in stage.named_parameters():
            if parameter.requires_grad and 'lambda1' not in name and 'norm' not in name:
                parameter.normal_(0.0, max(parameter.shape[-1], 4) ** -0.5)
    before = {name: value.detach().double().clone().requires_grad_()
              for name, value in stage.named_parameters() if value.requires_grad}
    recorder = Recorder()
    lightning.Trainer(
        max_steps=1, accelerator='cpu', devices=1, logger=False, callbacks=[recorder],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        use_distributed_sampler=False, gradient_clip_val=clip,
    ).fit(stage, TinyData(clip_of, batch=BATCH))
    return recorder, before


def check_step(
    stage: Stage, recorder: Recorder, before: Parameters, loss: Tensor, clip: float | None,
) -> None:
    """Compare loss, gradients and what AdamW (betas 0.9, 0.999) made of them."""
    assert recorder.loss == pytest.approx(loss.item(), abs=LOSS)
    loss.backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in before.values()
                         if p.grad is not None))
    factor = 1.0 if clip is None else min(1.0, clip / norm)
    for name, parameter in stage.named_parameters():
        if not parameter.requires_grad:
            continue
        old = before[name]
        gradient = torch.zeros_like(old) if old.grad is None else factor * old.grad
        assert parameter.grad is not None, name
        assert (parameter.grad - gradient).abs().max() < GRADIENT, name
        # Only weights of linear layers decay: no biases, norms, scales or embeddings.
        decays = old.ndim == 2 and '_embed' not in name
        with torch.no_grad():
            expected = old * (1.0 - RATE * DECAY * decays) - RATE * gradient / (
                gradient.abs() + 1e-8)
        # Where the gradient is hardly larger than Adam's epsilon its rounding decides.
        clear = gradient.abs() > 3e-5
        assert (parameter - expected).abs()[clear].max() < PARAMETER if clear.any() else True
        assert (parameter - expected).abs().max() < 2.001 * RATE, name
    assert norm > 1e-3


def linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    y = x @ p[f'{name}.weight'].T
    return y + p[f'{name}.bias'] if f'{name}.bias' in p else y


def norm(p: Parameters, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    y = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * p[f'{name}.weight']
    return y + p[f'{name}.bias'] if f'{name}.bias' in p else y


def split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def patch_angles() -> Tensor:
    """Return the angles (N, 32): 16 of y, then 16 of x, at patch centres from -1 to 1."""
    rows, columns = GRID
    frequencies = 100.0 ** (-torch.arange(16).double() / 16)
    return torch.stack([
        2 * math.pi * torch.cat([
            (2 * (row + 0.5) / rows - 1) * frequencies,
            (2 * (column + 0.5) / columns - 1) * frequencies])
        for row in range(rows) for column in range(columns)])


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Turn halves (first, second) of the last axis by angles of half its size."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * angles.cos() - second * angles.sin(),
                      second * angles.cos() + first * angles.sin()], -1)


def self_block(p: Parameters, name: str, x: Tensor, angles: Tensor) -> Tensor:
    """Run a released tokenizer block over (B, L, size); the last patches are turned."""
    h = norm(p, f'{name}.norm1', x)
    plain = x.shape[1] - len(angles)
    q, k, v = (split(linear(p, f'{name}.attention.{one}_proj', h)) for one in 'qkv')
    q, k = (torch.cat([t[:, :, :plain], turned(t[:, :, plain:], angles)], 2) for t in (q, k))
    q, k = norm(p, f'{name}.attention.q_norm', q), norm(p, f'{name}.attention.k_norm', k)
    out = (q @ k.transpose(-1, -2) / 8.0).softmax(-1) @ v
    gate = linear(p, f'{name}.attention.attn_gate', h).sigmoid()
    out = (out * gate.transpose(1, 2)[..., None]).transpose(1, 2).flatten(2)
    x = x + p[f'{name}.layer_scale1.lambda1'] * linear(p, f'{name}.attention.o_proj', out)
    h = norm(p, f'{name}.norm2', x)
    gated = linear(p, f'{name}.mlp.gate_proj', h)
    h = gated * gated.sigmoid() * linear(p, f'{name}.mlp.up_proj', h)
    return x + p[f'{name}.layer_scale2.lambda1'] * linear(p, f'{name}.mlp.down_proj', h)


def encode(p: Parameters, previous: Tensor, current: Tensor) -> Tensor:
    first, second = p['xy_embed.weight']
    z = p['z_embed.weight'][None].expand(len(current), 1, -1)
    x = torch.cat([z, previous + first, current + second], 1)
    for layer in range(2):
        x = self_block(p, f'encoder_blocks.{layer}', x, patch_angles().repeat(2, 1))
    return norm(p, 'norm', x[:, 0])


def decode(p: Parameters, token: Tensor, previous: Tensor) -> Tensor:
    x = torch.cat([token[:, None], previous], 1)
    for layer in range(2):
        x = self_block(p, f'decoder_blocks.{layer}', x, patch_angles())
    return x[:, 1:]


def axes_of(places: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    """Return what turns `2 count` contiguous values of each axis of places (B, L, axes)."""
    frequencies = 10.0 ** -torch.linspace(-2, 2, count, dtype=torch.float64)

    def turn(x: Tensor) -> Tensor:
        parts = [
            turned(x[..., 2 * count * axis:2 * count * (axis + 1)],
                   2 * math.pi * places[:, None, :, axis, None] * frequencies)
            for axis in range(places.shape[-1])]
        return torch.cat([*parts, x[..., 2 * count * places.shape[-1]:]], -1)
    return turn


def cross(
    p: Parameters, queries: Tensor, context: Tensor, mask: Tensor, now: Tensor, before: Tensor,
    count: int,
) -> Tensor:
    """Run a released predictor: queries (B, Q, size) at places `now`, context (B, L, D)."""
    x = queries
    for layer in range(2):
        name = f'predictor.blocks.{layer}'
        q = axes_of(now, count)(split(linear(
            p, f'{name}.attention.q_proj', norm(p, f'{name}.norm1', x))))
        k, v = linear(p, f'{name}.attention.kv_proj', context).chunk(2, -1)
        k = axes_of(before, count)(split(k))
        scores = (q @ k.transpose(-1, -2) / 8.0).masked_fill(~mask, -math.inf)
        out = (scores.softmax(-1) @ split(v)).transpose(1, 2).flatten(2)
        x = x + p[f'{name}.layer_scale1.lambda1'] * linear(p, f'{name}.attention.out_proj', out)
        h = linear(p, f'{name}.mlp.up_proj', norm(p, f'{name}.norm2', x))
        h = 0.5 * h * (1.0 + torch.erf(h / math.sqrt(2.0)))
        x = x + p[f'{name}.layer_scale2.lambda1'] * linear(p, f'{name}.mlp.down_proj', h)
    return linear(p, 'predictor.head', norm(p, 'predictor.norm', x))


def smooth_l1(predicted: Tensor, true: Tensor) -> Tensor:
    error = (predicted - true).abs()
    return torch.where(error < 0.1, error.square() / 0.2, error - 0.05)


def part(p: Parameters, name: str) -> Parameters:
    return {key.removeprefix(f'{name}.'): value for key, value in p.items()
            if key.startswith(f'{name}.')}


def test_tokenizer_step() -> None:
    """Log cosh over true pairs, the norm clipped to 0.01."""
    stage = TokenizerStage(
        TOKENIZER, 'log_cosh', 'true', rate=RATE, weight_decay=DECAY, decay='weights')
    stage.tokenizer.black.fill_(0.1)
    recorder, before = step(stage, 0.01)
    p, features = part(before, 'tokenizer'), recorder.batch['features']
    previous, current = features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1)
    error = decode(p, encode(p, previous, current), previous) - current
    check_step(stage, recorder, before, error.cosh().log().mean(), 0.01)


def recorded(stage: Any) -> list[Tensor]:
    """Keep the queries that the stage chooses."""
    chosen: list[Tensor] = []
    choose = stage.choose

    def keep(*arguments: Any) -> Tensor:
        chosen.append(choose(*arguments))
        return chosen[-1]
    stage.choose = keep
    return chosen


@pytest.mark.parametrize('learned', [False, True])
def test_delta_predictor_step(tmp_path: Path, learned: bool) -> None:
    """Every next token under a causal mask, each by its own best of the candidates."""
    file = save_random(tmp_path, 'tokenizer', TOKENIZER)
    stage = PredictorStage(
        WORLD | {'kind': 'deltaworld', 'token_size': SIZE, 'learned_query': learned}, file,
        candidates=CANDIDATES, rate=RATE, weight_decay=DECAY, decay='weights', seed=SEED)
    chosen = recorded(stage)
    recorder, before = step(stage, None)
    frozen, _ = load_part(file, 'tokenizer')
    tokenizer = {name: value.double() for name, value in frozen.state_dict().items()}
    features, times = recorder.batch['features'], recorder.batch['times']
    previous = torch.cat([tokenizer['black'].expand(BATCH, 1, -1, -1), features[:, :-1]], 1)
    with torch.no_grad():
        tokens = encode(tokenizer, previous.flatten(0, 1), features.flatten(0, 1)).unflatten(
            0, (BATCH, 5))
    p, true = part(before, 'world'), tokens[:, 1:]
    causal = torch.ones(4, 4).tril().bool()

    def predict(queries: Tensor) -> Tensor:
        return cross(p, queries, tokens[:, :-1], causal, times[:, 1:, None],
                     times[:, :-1, None], 30)

    if learned:
        queries = p['q_embed.weight'].expand(BATCH, 4, -1)
    else:
        noise = 0.02 * SampleNoise(SEED, range(BATCH), torch.device('cpu'), QUERIES).normal(
            CANDIDATES, 4, SIZE).double()
        with torch.no_grad():
            errors = torch.stack([
                smooth_l1(predict(noise[:, k]), true).mean(-1) for k in range(CANDIDATES)])
        winners = errors.argmin(0)
        assert len(winners.unique()) > 1
        queries = torch.stack([torch.stack([
            noise[b, winners[b, s], s] for s in range(4)]) for b in range(BATCH)])
        torch.testing.assert_close(chosen[0].double(), queries)
    check_step(stage, recorder, before, smooth_l1(predict(queries), true).mean(), None)


@pytest.mark.parametrize('learned', [False, True])
def test_dino_world_step(learned: bool) -> None:
    """Every patch of every next frame under a block-causal mask; frames win as wholes."""
    stage = SpatialPredictorStage(
        GRID, WORLD | {'kind': 'spatial', 'learned_query': learned}, CANDIDATES, rate=RATE,
        weight_decay=DECAY, decay='weights', seed=SEED)
    chosen = recorded(stage)
    recorder, before = step(stage, None)
    features, times = recorder.batch['features'], recorder.batch['times']
    p, true = part(before, 'world'), features[:, 1:]
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in GRID),
                          indexing='ij')
    places = torch.stack([
        times[:, :, None].expand(-1, -1, PATCHES), x.flatten().expand(BATCH, 5, -1),
        y.flatten().expand(BATCH, 5, -1)], -1)
    blocks = torch.ones(4, 4).tril().bool().repeat_interleave(PATCHES, 0).repeat_interleave(
        PATCHES, 1)

    def predict(queries: Tensor) -> Tensor:
        return cross(
            p, queries.repeat_interleave(PATCHES, 1), features[:, :-1].flatten(1, 2), blocks,
            places[:, 1:].flatten(1, 2), places[:, :-1].flatten(1, 2), 10,
        ).unflatten(1, (4, PATCHES))

    if learned:
        queries = p['q_embed.weight'].expand(BATCH, 4, -1)
    else:
        drawn = SampleNoise(SEED, range(BATCH), torch.device('cpu'), QUERIES)
        noise = torch.stack([
            0.02 * drawn.normal(1, 4, SIZE)[:, 0] for _ in range(CANDIDATES)]).double()
        with torch.no_grad():
            errors = torch.stack([
                smooth_l1(predict(one), true).mean((2, 3)) for one in noise])
        winners = errors.argmin(0)
        assert len(winners.unique()) > 1
        queries = torch.stack([torch.stack([
            noise[winners[b, s], b, s] for s in range(4)]) for b in range(BATCH)])
        torch.testing.assert_close(chosen[0].double(), queries)
    check_step(stage, recorder, before, smooth_l1(predict(queries), true).mean(), None)
