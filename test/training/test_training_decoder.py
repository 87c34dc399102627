# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A decoder of fewer layers learns what the teacher's decodes, and nothing else changes."""

from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from support.training_batches import GRID, TinyData, drifting, save_random

from deltaworld_ros.errors import UserError
from deltaworld_training.runs.recipe import load_recipe
from deltaworld_training.runs.stage import run_stage
from deltaworld_training.stages.decoder import DecoderStage
from deltaworld_training.stages.parts import load_part, read_part, save_parts

COMPACT = {
    'kind': 'compact', 'feature_size': 64, 'grid': list(GRID), 'token_size': 32, 'size': 64,
    'heads': 1, 'encoder_layers': 1, 'decoder_layers': 3, 'mlp_size': 64, 'code_channels': 8,
    'layer_scale': 0.5}


class Logged(lightning.Callback):
    """Keep a logged value of every batch."""

    def __init__(self, name: str) -> None:
        self.name, self.values = name, []

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        """Append one value."""
        self.values.append(float(trainer.logged_metrics[self.name]))


@pytest.fixture(scope='module')
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tokenizer with random weights whose blocks matter."""
    path = save_random(tmp_path_factory.mktemp('teacher'), 'tokenizer', COMPACT)
    sizes, state = read_part(path, 'tokenizer')
    save_parts(path, {
        f'tokenizer.{name}': 8.0 * value if 'lambda1' in name else value
        for name, value in state.items()}, {'tokenizer': sizes}, {})
    return path


def fit(stage: DecoderStage, steps: int) -> list[float]:
    """Train on one thread and return the errors against the teacher."""
    torch.set_num_threads(1)
    logged = Logged('teacher')
    lightning.Trainer(
        max_steps=steps, accelerator='cpu', devices=1, logger=False, callbacks=[logged],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        log_every_n_steps=1, use_distributed_sampler=False).fit(stage, TinyData())
    return logged.values


def test_a_shallower_decoder_learns_from_the_teacher(teacher: Path) -> None:
    """The error falls; only the decoder changes, so tokens stay those of the teacher."""
    stage = DecoderStage(
        teacher, {**COMPACT, 'decoder_layers': 1}, true_share=0.0, rate=3e-3, warm_up=2)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    errors = fit(stage, 40)
    print(errors)
    assert sum(errors[-5:]) < 0.7 * sum(errors[:5])
    changed = {name for name, value in stage.state_dict().items()
               if not torch.equal(value, before[name])}
    assert changed and all(name.startswith('tokenizer.decoder_') for name in changed)
    pair = torch.randn(2, 3, GRID[0] * GRID[1], 64)
    assert torch.equal(stage.tokenizer.encode(*pair), stage.teacher.encode(*pair))


def test_a_decoder_as_deep_as_the_teachers_starts_as_that(teacher: Path) -> None:
    """Every block is taken over, so nothing is left to learn from the teacher."""
    assert fit(DecoderStage(teacher, COMPACT, rate=0.0), 1) == [0.0]


@pytest.mark.parametrize('sizes, reason', [
    ({'decoder_layers': 4}, 'decoder_layers 4: the teacher has 3'),
    ({'mlp_size': 32}, 'may differ from the teacher in decoder_layers only'),
])
def test_other_networks_are_refused(teacher: Path, sizes: dict, reason: str) -> None:
    """One line says what may differ."""
    with pytest.raises(UserError, match=reason):
        DecoderStage(teacher, {**COMPACT, **sizes}, rate=1e-3)


def test_the_shipped_recipe_writes_a_tokenizer(teacher: Path, tmp_path: Path) -> None:
    """The recipe runs in a run's folder, and its file loads as a tokenizer of two layers."""
    store = tmp_path / 'street'
    store.mkdir()
    clips = [drifting(index) for index in range(4)]
    for name in ('features', 'times', 'labels', 'depth'):
        np.save(store / f'{name}.npy', np.stack([clip[name] for clip in clips]))
    np.save(store / 'done.npy', np.ones(4, np.uint8))
    (tmp_path / 'tokenizer.safetensors').write_bytes(teacher.read_bytes())
    recipe = load_recipe('street-cpu')
    stage = recipe.stages['decoder']
    stage.model['tokenizer'] = {**COMPACT, 'decoder_layers': 2}
    stage.data['init_args'] |= {'folders': ['{run}/street'], 'weights': None, 'batch': 4}
    path = run_stage(recipe, 'decoder', tmp_path, ['--trainer.max_steps=3'])
    tokenizer, sizes = load_part(path, 'tokenizer')
    assert sizes['decoder_layers'] == len(tokenizer.decoder_blocks) == 2
