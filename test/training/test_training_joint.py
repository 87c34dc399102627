# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A tokenizer and its predictor learn together what the heads read."""

from pathlib import Path
from typing import Literal

import lightning
import numpy as np
import pytest
import torch
from support.training_batches import GRID, TinyData, drifting, save_heads

from deltaworld_training.stages.energy_score import energy_score
from deltaworld_training.stages.head_loss import HeadLoss
from deltaworld_training.stages.joint import STILL, JointStage, decode_all

TOKENIZER = {
    'kind': 'warp', 'feature_size': 64, 'grid': list(GRID), 'token_size': 16, 'size': 64,
    'heads': 1, 'encoder_layers': 1, 'decoder_layers': 2, 'mlp_size': 64}
WORLD = {
    'kind': 'residual', 'size': 64, 'heads': 1, 'layers': 1, 'mlp_size': 64, 'token_size': 16,
    'layer_scale': 0.5}


class Logged(lightning.Callback):
    """Keep what is logged after every batch."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        """Append the values of one batch."""
        self.values.append({name: float(v) for name, v in trainer.logged_metrics.items()})


@pytest.fixture(scope='module')
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write heads with random weights."""
    return save_heads(tmp_path_factory.mktemp('heads'))


class TinyStores(TinyData):
    """Batches of made samples, with a store whose classes can be counted."""

    def setup(self, stage: str) -> None:
        """Make the store: one of its attributes is read."""
        class Counted:
            clips = np.arange(2)
            labels = np.stack([drifting(index)['labels'] for index in range(2)])
        self.stores = [Counted()]


def fit(stage: JointStage, steps: int) -> list[dict[str, float]]:
    """Train on one thread and return what was logged."""
    torch.set_num_threads(1)
    logged = Logged()
    lightning.Trainer(
        max_steps=steps, accelerator='cpu', devices=1, logger=False, callbacks=[logged],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        log_every_n_steps=1, use_distributed_sampler=False).fit(stage, TinyStores())
    return logged.values


def changed(stage: JointStage, before: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the tensors that training moved."""
    return {name for name, value in stage.state_dict().items()
            if not torch.equal(value, before[name])}


def test_both_networks_learn_and_the_heads_do_not(heads: Path) -> None:
    """Forecasts come nearer to the future in features; samples come nearer to true tokens."""
    stage = JointStage(heads, TOKENIZER, WORLD, rate=2e-3, warm_up=2, samples=4)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    values = fit(stage, 60)
    for name in ('true_features', 'features'):
        first, last = (np.mean([v[name] for v in part]) for part in (values[:5], values[-5:]))
        assert last < 0.9 * first, name
    names = changed(stage, before)
    for part in ('encoder_', 'decoder_', 'flow_'):
        assert any(name.startswith(f'tokenizer.{part}') for name in names)
    assert any(name.startswith('world.') for name in names)
    assert not any(name.startswith('head_loss.segmentation') for name in names)
    assert not stage.head_loss.segmentation.training
    assert set(stage.sizes) == {'tokenizer', 'world'}


@pytest.mark.parametrize('fixed, decoder', [('encoder', True), ('tokenizer', False)])
def test_fixed_parts_stay_and_the_others_learn(
    heads: Path, fixed: Literal['encoder', 'tokenizer'], decoder: bool,
) -> None:
    """The samples learn, the encoder does not, and the decoder does where it is not fixed."""
    stage = JointStage(
        heads, TOKENIZER, WORLD, fixed=fixed, rate=2e-3, samples=3,
        scored='features' if fixed == 'tokenizer' else 'tokens')
    # An untrained decoder passes no gradient on to the tokens.
    torch.nn.init.normal_(stage.tokenizer.decoder_output.weight, std=0.05)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    fit(stage, 3)
    names = {name for name in changed(stage, before) if 'class_weights' not in name}
    worlds = {name for name in names if name.startswith('world.')}
    assert worlds and bool(names - worlds) == decoder
    assert all(name.removeprefix('tokenizer.').startswith(stage.tokenizer.DECODER)
               for name in names - worlds)


def test_the_features_of_samples_are_scored_lead_by_lead(heads: Path) -> None:
    """The score is the mean energy score of each lead, in shares of what copying misses."""
    stage = JointStage(heads, TOKENIZER, WORLD, scored='features', rate=2e-3)
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(2, 3, 2, 16, generator=generator)
    now = torch.randn(2, GRID[0] * GRID[1], 64, generator=generator)
    future = torch.randn(2, 2, GRID[0] * GRID[1], 64, generator=generator)
    copy = torch.tensor([[0.3, 0.5], [0.7, 1.5]])
    with torch.no_grad():
        found = stage.score_features(samples, now, future, copy)
        total = 0.0
        for window in range(2):
            decoded = decode_all(
                stage.tokenizer, samples[window], now[window].expand(3, -1, -1)).numpy()
            for lead in range(2):
                true = future[window, lead].numpy()
                away = [np.sqrt(((one[lead] - true) ** 2).mean()) for one in decoded]
                apart = [np.sqrt(((decoded[i, lead] - decoded[j, lead]) ** 2).mean())
                         for i in range(3) for j in range(i)]
                score = np.mean(away) - 0.5 * np.mean(apart)
                total += score / np.sqrt(float(copy[window, lead]) + STILL) / 4
    assert float(found) == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize('queries', ['kept', 'fresh'])
def test_samples_draw_their_noise_as_the_bundle_will(heads: Path, queries: str) -> None:
    """One query through all steps, or one for each."""
    stage = JointStage(heads, TOKENIZER, WORLD, rate=2e-3, samples=4, queries=queries)
    seen: list[torch.Tensor] = []
    rollout = stage.world.rollout
    stage.world.rollout = lambda tokens, table, noise: (
        seen.append(noise.detach()), rollout(tokens, table, noise))[1]
    fit(stage, 1)
    assert [noise.shape[1] for noise in seen] == [4]
    for noise in seen:
        steps_agree = torch.equal(noise, noise[:, :, :1].expand_as(noise))
        assert noise.shape[2] > 1 and steps_agree == (queries == 'kept')


def test_the_future_itself_has_no_loss_but_that_of_the_heads(heads: Path) -> None:
    """True features differ from themselves in nothing; a known depth counts by one half."""
    loss = HeadLoss(heads, GRID)
    features = torch.randn(2, GRID[0] * GRID[1], 64)
    unknown = torch.full((2, 4, 8), float('nan'))
    _, read = loss.read(features, (4, 8))
    classes, depth = loss(features, loss.truth(features, unknown))
    assert abs(classes) < 1e-6 and depth == 0.0
    classes, depth = loss(features, loss.truth(features, 1.1 * read))
    torch.testing.assert_close(depth, torch.tensor(0.5 * np.log(1.1), dtype=torch.float32))
    classes, depth = loss(features + 1.0, loss.truth(features, unknown))
    assert classes > 0.0 and depth > 0.0


def test_the_energy_score_is_least_for_samples_like_the_truth() -> None:
    """Normal samples of the truth's own spread score better than narrow, wide or moved ones."""
    generator = torch.Generator().manual_seed(0)

    def score(spread: float, moved: float = 0.0) -> float:
        truth = torch.randn(4000, 3, 2, generator=generator)
        samples = moved + spread * torch.randn(4000, 4, 3, 2, generator=generator)
        return float(energy_score(samples, truth).mean())
    best = score(1.0)
    for other in (score(0.5), score(1.6), score(1.0, 0.5)):
        assert other > best + 0.01
    point = torch.randn(5, 3, 2, generator=generator)
    torch.testing.assert_close(
        energy_score(point[:, None].expand(-1, 4, -1, -1) + 2.0, point), torch.full((5,), 2.0),
        atol=1e-3, rtol=0.0)
