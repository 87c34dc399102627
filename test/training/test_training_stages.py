# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every stage learns, chooses and starts as the paper says."""

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from support.training_batches import (
    BACKBONE,
    DELTA,
    GRID,
    HEADS,
    WORLD,
    TinyData,
    drifting,
    moving_frames,
    save_random,
)

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.networks import build_part
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.stages.best_of_many import best_query
from deltaworld_training.stages.heads import HeadsStage
from deltaworld_training.stages.initialisation import initialise
from deltaworld_training.stages.losses import log_cosh, masked, smooth_l1
from deltaworld_training.stages.noise import forward_uniform
from deltaworld_training.stages.optimizer import adamw, rate_factor
from deltaworld_training.stages.parts import load_part, save_parts
from deltaworld_training.stages.predictor import PredictorStage, teacher_forced
from deltaworld_training.stages.stage import Stage
from deltaworld_training.stages.tokenizer import TokenizerStage, reconstruct


class Losses(lightning.Callback):
    """Keep the loss of every batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, stage: Any, outputs: Any, *_: Any) -> None:
        """Append one loss."""
        self.values.append(outputs['loss'].item())


def fit(stage: Stage, data: TinyData, steps: int, **options: Any) -> list[float]:
    """Train on one thread and return the losses."""
    torch.set_num_threads(1)
    losses = Losses()
    lightning.Trainer(
        max_steps=steps, accelerator='cpu', devices=1, logger=False, callbacks=[losses],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        use_distributed_sampler=False, **options).fit(stage, data)
    return losses.values


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a backbone and a tokenizer."""
    folder = tmp_path_factory.mktemp('parts')
    return {
        'backbone': save_random(folder, 'backbone', BACKBONE),
        'tokenizer': save_random(folder, 'tokenizer', DELTA),
    }


@pytest.mark.parametrize('settings, factor', [
    ({}, 0.9),
    ({'previous': 'decoded', 'loss': 'relative'}, 0.7),
    ({'previous': 'own', 'loss': 'log_cosh'}, 0.9),
    ({'black': True, 'coordinate_stretch': 2.0, 'decay': 'weights'}, 0.999),
])
def test_tokenizer_learns_to_reconstruct(
    files: dict[str, Path], settings: dict, factor: float,
) -> None:
    """Paper, chained, on its own reconstructions, and with the black frame."""
    stage = TokenizerStage(
        DELTA, rate=4e-3, warm_up=2, backbone=files['backbone'], **settings)
    losses = fit(stage, TinyData(), 30, gradient_clip_val=1.0)
    assert sum(losses[-5:]) < factor * sum(losses[:5])


def test_frames_go_through_the_frozen_backbone(files: dict[str, Path]) -> None:
    """The loss falls on frames; only the tokenizer changes and is saved."""
    stage = TokenizerStage(DELTA, rate=4e-3, backbone=files['backbone'])
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    losses = fit(stage, TinyData(moving_frames), 25)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    changed = {name for name, value in stage.state_dict().items()
               if not torch.equal(value, before[name])}
    assert changed and all(name.startswith('tokenizer.') for name in changed)
    assert set(stage.learned(stage.state_dict())) == {
        name for name in before if name.startswith('tokenizer.')}
    with pytest.raises(UserError, match='--model.backbone'):
        fit(PredictorStage(WORLD, tokenizer=files['tokenizer'], rate=1e-3),
            TinyData(moving_frames), 1)


@pytest.mark.parametrize('settings', [
    {'objective': 'next', 'queries': 'fresh', 'candidates': 12, 'chunk': 5},
    {'objective': 'next', 'queries': 'kept', 'candidates': 4},
    {'objective': 'rollout', 'queries': 'fresh', 'candidates': 4},
    {'objective': 'rollout', 'queries': 'kept', 'candidates': 12, 'chunk': 5, 'loss': 'mse'},
    {'world': WORLD | {'learned_query': True}, 'token_noise': 0.1},
])
def test_predictor_learns(files: dict[str, Path], settings: dict) -> None:
    """Next token or whole rollout, fresh or kept queries, many candidates or one query."""
    stage = PredictorStage(
        **{'world': WORLD, **settings}, tokenizer=files['tokenizer'], rate=1e-3)
    losses = fit(stage, TinyData(), 25)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_the_energy_score_trains_all_samples(files: dict[str, Path]) -> None:
    """Samples come nearer to the true tokens and keep a spread; it needs whole rollouts."""
    scored = {'loss': 'energy', 'objective': 'rollout', 'queries': 'kept', 'candidates': 6}
    stage = PredictorStage(
        WORLD | {'kind': 'residual', 'noise_size': 2}, tokenizer=files['tokenizer'], rate=2e-3,
        **scored)
    noises: list[torch.Tensor] = []
    samples: list[torch.Tensor] = []
    rollout = stage.world.rollout

    def seen(tokens: torch.Tensor, table: tuple, noise: torch.Tensor) -> torch.Tensor:
        noises.append(noise)
        samples.append(rollout(tokens, table, noise))
        return samples[-1]
    stage.world.rollout = seen
    losses = fit(stage, TinyData(), 25)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert noises[0].shape[1] == 6 and noises[0].shape[-1] == 2
    assert torch.equal(noises[0][:, :, 0], noises[0][:, :, -1])
    assert float(samples[-1].detach().std(1).mean()) > 1e-3
    with pytest.raises(UserError, match='loss energy: needs objective: rollout'):
        PredictorStage(WORLD, rate=1e-3, loss='energy')


def test_heads_learn_classes_and_depth() -> None:
    """Cross-entropy and the depth loss fall together; one head alone trains too."""
    stage = HeadsStage(GRID, **HEADS, rate=1e-2, schedule='cosine')
    losses = fit(stage, TinyData(), 40)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    only = HeadsStage(GRID, depth=HEADS['depth'], depth_loss='scale_free', rate=1e-2)
    assert set(only.sizes) == {'depth'} and math.isfinite(fit(only, TinyData(), 2)[-1])


def test_teacher_forcing_equals_one_step_after_the_other() -> None:
    """Under the causal mask, each token is what the tokens before it alone predict."""
    torch.manual_seed(0)
    world = build_part('world', WORLD)
    initialise(world)
    for parameter in world.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    tokens, queries = torch.randn(2, 5, 64), torch.randn(2, 4, 3, 64)
    times = torch.tensor([[0.0, 0.1, 0.3, 0.5, 0.6], [0.0, 0.2, 0.4, 0.5, 0.9]]).double()
    cos, sin = table = time_table(times, time_frequencies())
    together = teacher_forced(world, tokens, table, queries)
    for step in range(4):
        known, now = slice(0, step + 1), slice(step + 1, step + 2)
        alone = world.rollout(
            tokens[:, known], (cos[:, :now.stop], sin[:, :now.stop]), queries[:, step][:, :, None])
        assert torch.allclose(together[:, step], alone[:, :, 0], atol=1e-5)


@pytest.mark.parametrize('chunk', [1, 3, 7, 100])
def test_best_of_many_finds_the_winner(chunk: int) -> None:
    """In each group the query with the least error wins, whatever the size of a chunk."""
    torch.manual_seed(1)
    queries = torch.randn(4, 3, 20, 2, 5)
    targets = torch.randn(4, 3, 1, 2, 5)
    position = [0]

    def draw(count: int) -> torch.Tensor:
        part = queries[:, :, position[0]:position[0] + count]
        position[0] += count
        return part

    found = best_query(
        draw, lambda q: (q - targets).square().sum((-1, -2)), 20, chunk)
    index = (queries - targets).square().sum((-1, -2)).argmin(2)
    for b in range(4):
        for g in range(3):
            assert torch.equal(found[b, g], queries[b, g, index[b, g]])


def test_more_candidates_never_fit_worse(files: dict[str, Path]) -> None:
    """The first of 32 candidates are those of 4, so the best of more is at least as good."""
    losses = {}
    for count in (1, 4, 32):
        stage = PredictorStage(
            WORLD, files['tokenizer'], candidates=count, initialisation='torch', rate=0.0)
        stage.world.predictor.blocks[0].norm1.weight.data.fill_(30.0)
        losses[count] = fit(stage, TinyData(), 1)[0]
    assert losses[32] < losses[4] < losses[1]


MEMORY = """
import sys
sys.path[:0] = ['test', 'test/training']
import torch
torch.set_num_threads(1)
from test_training_stages import fit
from support.training_batches import DELTA, TinyData, WORLD, save_random
from deltaworld_training.ladder.meter import reset_peak, status_bytes
from deltaworld_training.stages.predictor import PredictorStage
from pathlib import Path
file, candidates = Path(sys.argv[1]), int(sys.argv[2])
world = WORLD | {'layers': 12, 'mlp_size': 256}
stage = PredictorStage(world, file, candidates=candidates, chunk=16, rate=1e-3)
data = TinyData(batch=24)
saved = [0]
def pack(tensor):
    saved[0] += tensor.numel() * tensor.element_size()
    return tensor
before = reset_peak()
with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
    fit(stage, data, 1)
print(saved[0], status_bytes('VmHWM') - before)
"""


def test_memory_does_not_grow_with_the_candidates(files: dict[str, Path]) -> None:
    """K = 256 keeps as much for the gradients as K = 1, and its peak is not that of 256."""
    saved, peak = {}, {}
    for count in (1, 256):
        result = subprocess.run(
            [sys.executable, '-c', MEMORY, str(files['tokenizer']), str(count)],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
            timeout=250)
        saved[count], peak[count] = (int(x) for x in result.stdout.split()[-2:])
    assert saved[256] == saved[1]
    # The allocator alone made a fifth of it on a busy machine.
    assert peak[256] < 1.5 * peak[1]


def test_winners_noise_does_not_depend_on_how_the_batch_is_divided() -> None:
    """Accumulating four batches of two gives the weights of one batch of eight."""
    ends = []
    for parts in (1, 4):
        stage = PredictorStage(
            WORLD, objective='next', candidates=6, rate=1e-3, token_noise=0.1, warm_up=2)
        fit(stage, TinyData(tokens_of), 5, accumulate_grad_batches=parts)
        ends.append(torch.cat([p.detach().flatten() for p in stage.world.parameters()]))
    assert torch.allclose(ends[0], ends[1], atol=2e-5)


def tokens_of(index: int) -> dict:
    """Return the made features' first patch as anchor and delta tokens."""
    sample = drifting(index)
    tokens = sample['features'][:, 0].astype('float32')
    return {'anchors': tokens, 'deltas': tokens, 'times': sample['times']}


def test_rate_rises_and_stays_or_falls() -> None:
    """Paper and release: linear warm-up, then constant; street: a cosine to nothing."""
    constant = [rate_factor('constant', step, 10, 100) for step in range(101)]
    assert constant[0] == 0.0 and constant[5] == 0.5 and set(constant[10:]) == {1.0}
    cosine = [rate_factor('cosine', step, 10, 100) for step in range(101)]
    assert cosine[0] == pytest.approx(0.1) and max(cosine) == 1.0
    assert cosine[55] == pytest.approx(0.5) and cosine[100] == pytest.approx(0.0)


def test_decay_takes_all_or_only_weights() -> None:
    """The release decays the weights of linear layers alone."""
    module = build_part('tokenizer', DELTA)
    everything = adamw(module, 1e-3, 0.1, (0.9, 0.999), 'all')
    assert [group['weight_decay'] for group in everything.param_groups] == [0.1]
    decayed, rest = adamw(module, 1e-3, 0.1, (0.9, 0.999), 'weights').param_groups
    assert {p.ndim for p in decayed['params']} == {2}
    names = {id(p): name for name, p in module.named_parameters()}
    assert {'z_embed.weight', 'norm.weight'} <= {names[id(p)] for p in rest['params']}
    assert rest['weight_decay'] == 0.0


def test_initial_weights_are_the_papers() -> None:
    """Truncated normal of 0.02, zero biases, layer scale 1e-5: the decoder starts as identity."""
    torch.manual_seed(0)
    model = DeltaTok(64, 1, 2, 256, gated=False)
    initialise(model)
    weight = model.encoder_blocks[0].mlp.up_proj.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert weight.abs().max() <= 2.0
    assert model.z_embed.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert not model.encoder_blocks[1].attention.o_proj.bias.any()
    assert (model.decoder_blocks[0].layer_scale1.lambda1 == 1e-5).all()
    assert bool(model.xy_embed.weight.any(1).all())
    frames = DeltaTok(64, 1, 2, 256, frame_tokens=True)
    initialise(frames)
    # Section 3.3: the decoder of frame tokens starts from zero patches.
    assert frames.xy_embed.weight.any(1).tolist() == [False, True]
    world = DeltaWorld(64, 1, 1, 64, learned_query=True)
    initialise(world)
    assert world.q_embed.weight.std().item() == pytest.approx(0.02, rel=0.3)
    previous = torch.randn(2, 6, 64)
    assert torch.allclose(model.decode(torch.randn(2, 64), previous, (2, 3)), previous, atol=1e-4)


def test_each_process_and_forward_stretches_by_its_own_factor() -> None:
    """Log-uniform between a half and two: alike when repeated, else every time another."""
    keys = list(itertools.product(range(20), range(4), (0, 1)))
    draws = {key: forward_uniform(7, *key) for key in keys}
    assert len(set(draws.values())) == len(draws)
    assert draws == {key: forward_uniform(7, *key) for key in draws}
    stage = TokenizerStage(DELTA | {'frame_tokens': True}, coordinate_stretch=2.0, rate=1e-3)
    scales: list[float] = []

    class Watch(torch.nn.Module):
        """Keep the scale of every encoding."""

        def forward(self, *arguments: Any) -> torch.Tensor:
            scales.append(stage.tokenizer.coordinate_scale)
            return encode(*arguments)
    encode = stage.tokenizer.encode
    object.__setattr__(stage.tokenizer, 'encode', Watch())
    fit(stage, TinyData(batch=8), 6, accumulate_grad_batches=2)
    assert len(scales) == 12 and scales == pytest.approx([
        2.0 ** (2.0 * forward_uniform(0, step, 0, part) - 1.0)
        for step in range(6) for part in (0, 1)])
    assert 0.5 <= min(scales) < 1.0 < max(scales) <= 2.0
    assert stage.tokenizer.coordinate_scale == 1.0


def test_losses_are_what_they_are_called() -> None:
    """log cosh without overflow, smooth L1 with beta 0.1, depth only where it is known."""
    x = torch.tensor([-50.0, -0.5, 0.0, 0.02, 3.0])
    zero = torch.zeros(5)
    assert torch.allclose(log_cosh(x, zero)[1:], x[1:].double().cosh().log().float(), atol=1e-6)
    assert log_cosh(x, zero)[0].item() == pytest.approx(50.0 - math.log(2.0))
    assert torch.allclose(smooth_l1(x, zero), torch.tensor([49.95, 0.45, 0.0, 0.002, 2.95]))
    true = torch.tensor([1.0, 5.0, float('nan')])
    scaled = (2.0 * true).nan_to_num(1.0).requires_grad_()
    loss = masked('sig', scaled, true, true.isfinite())
    assert loss.item() == pytest.approx(math.sqrt(0.15) * math.log(2.0), rel=1e-3)
    loss.backward()
    assert scaled.grad is not None and scaled.grad.isfinite().all()
    nothing = masked('sig', scaled, true, torch.zeros(3, dtype=torch.bool))
    assert nothing.item() == 0.0


def test_own_reconstructions_are_encoded_from_what_was_decoded() -> None:
    """Appendix D: the second token is relative to the first reconstruction."""
    torch.manual_seed(2)
    tokenizer = build_part('tokenizer', DELTA | {'layer_scale': 1.0})
    features = torch.randn(1, 3, 8, 64)
    own, chained = (reconstruct(tokenizer, features, how) for how in ('own', 'decoded'))
    assert torch.allclose(own[:, 0], chained[:, 0], atol=1e-5)
    assert not torch.allclose(own[:, 1], chained[:, 1], atol=1e-3)
    token = tokenizer.encode(own[:, 0], features[:, 2])
    assert torch.allclose(own[:, 1], tokenizer.decode(token, own[:, 0]), atol=1e-5)


def test_parts_say_what_they_are(files: dict[str, Path], tmp_path: Path) -> None:
    """Sizes come back from the file; what is missing or does not fit is one clear error."""
    module, sizes = load_part(files['tokenizer'], 'tokenizer')
    assert sizes == DELTA and module.grid == GRID
    with pytest.raises(UserError, match='holds no world; it holds: tokenizer'):
        load_part(files['tokenizer'], 'world')
    with pytest.raises(UserError, match='give its sizes'):
        PredictorStage(rate=1e-3)
    wrong = tmp_path / 'wrong.safetensors'
    state = {f'tokenizer.{name}': value for name, value in module.state_dict().items()}
    save_parts(wrong, state, {'tokenizer': DELTA | {'mlp_size': 128}}, {})
    with pytest.raises(UserError, match='size mismatch'):
        load_part(wrong, 'tokenizer')


def test_released_backbone_file_needs_no_sizes(tmp_path: Path) -> None:
    """The file of DINOv3's weights is read with or without the prefix of newer versions."""
    backbone = build_part('backbone', BACKBONE)
    path = tmp_path / 'model.safetensors'
    from safetensors.torch import save_file
    save_file({f'model.{k}': v for k, v in backbone.state_dict().items()}, path)
    again, sizes = load_part(path, 'backbone')
    assert sizes == BACKBONE | {'registers': 4}
    assert torch.equal(again.norm.weight, backbone.norm.weight)


def test_a_stage_starts_from_another_resolution(files: dict[str, Path]) -> None:
    """The weights of a 2 x 4 grid start a tokenizer of 4 x 4; its black frame is its own."""
    stage = TokenizerStage(DELTA | {'grid': [4, 4]}, rate=1e-3, initial=files['tokenizer'])
    old = load_part(files['tokenizer'], 'tokenizer')[0]
    assert torch.equal(stage.tokenizer.norm.weight, old.norm.weight)
    assert stage.tokenizer.black.shape == (1, 16, 64)
