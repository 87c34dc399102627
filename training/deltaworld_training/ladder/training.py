# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train one part of the ladder, keep it with what its training took, and load it again."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import RichProgressBar
from torch import nn

from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_training.data.feature_data import FeatureData
from deltaworld_training.data.feature_store import Windows
from deltaworld_training.ladder.data import LadderData
from deltaworld_training.ladder.meter import Meter
from deltaworld_training.ladder.rows import Row, RowTokenizer
from deltaworld_training.ladder.settings import LadderSettings, Learning
from deltaworld_training.ladder.tokens import encode_clips
from deltaworld_training.stages.foresight import ForesightStage
from deltaworld_training.stages.heads import HeadsStage
from deltaworld_training.stages.parts import frozen, load_part, save_parts
from deltaworld_training.stages.predictor import PredictorStage
from deltaworld_training.stages.spatial_predictor import SpatialPredictorStage
from deltaworld_training.stages.stage import Stage
from deltaworld_training.stages.store_data import StoreData
from deltaworld_training.stages.tokenizer import TokenizerStage


def train_heads(settings: LadderSettings, data: LadderData, path: Path) -> None:
    """Train the linear heads on true features; all rows share them."""
    if path.exists():
        return
    sizes = settings.head_sizes()
    stage = HeadsStage(
        settings.grid, sizes['segmentation'], sizes['depth'], 'scale_free', balance=0.25,
        **options(settings.heads_learning, 0))
    batches = StoreData([data.train_folder], 1, settings.heads_learning.batch, truth=True)
    fit(settings, settings.heads_learning, stage, batches, path, 'heads')


def train_tokenizer(
    settings: LadderSettings, data: LadderData, tokenizer: RowTokenizer, seed: int, path: Path,
) -> None:
    """Train the tokenizer of a row on pairs of frames, the first of them with the black frame."""
    if path.exists():
        return
    learning = settings.tokenizer_learning
    compact = tokenizer.kind == 'compact'
    stage = TokenizerStage(
        settings.tokenizer_sizes(tokenizer), 'mse', 'own' if tokenizer.own else 'true',
        black=not compact, initialisation='torch' if compact else 'paper',
        backbone=data.backbone, **options(learning, seed))
    batches = StoreData([data.train_folder], settings.frames, learning.batch, seed=seed)
    fit(settings, learning, stage, batches, path, f'tokenizer ({tokenizer.name}), seed {seed}')


def train_world(
    settings: LadderSettings, data: LadderData, row: Row, seed: int, candidates: int,
    tokenizer: Path | None, path: Path,
) -> None:
    """Train the predictor of a row; `tokenizer` is None for spatial tokens."""
    if path.exists():
        return
    learning, sizes = settings.predictor_learning, settings.world_sizes(row)
    more = {'candidates': candidates, **options(learning, seed)}
    stage: Stage
    if row.world == 'foresight':
        stage = ForesightStage(sizes, **options(learning, seed))
    elif tokenizer is None:
        stage = SpatialPredictorStage(settings.grid, sizes, **more)
    else:
        stage = PredictorStage(sizes, **more)
    if tokenizer is None:
        batches: Any = StoreData(
            [data.train_folder], settings.frames, learning.batch, seed=seed)
    else:
        arrays = encode_clips(
            frozen(load_part(tokenizer, 'tokenizer')[0]), data.train, row.own)
        windows = Windows(arrays, np.arange(len(arrays['times'])), settings.frames)
        batches = FeatureData([windows], [1.0], learning.batch, seed=seed)
    fit(settings, learning, stage, batches, path,
        f'{row.title}, K = {candidates}, seed {seed}')


def options(learning: Learning, seed: int) -> dict[str, Any]:
    """Return the settings of every stage's optimiser."""
    return {'rate': learning.rate, 'weight_decay': learning.weight_decay,
            'warm_up': learning.warm_up, 'schedule': 'cosine', 'betas': (0.9, 0.95),
            'seed': seed}


def fit(
    settings: LadderSettings, learning: Learning, stage: Stage, batches: Any, path: Path,
    title: str,
) -> None:
    """Run a stage to its end and write its weights and, beside them, what it took."""
    meter, bar = Meter(), RichProgressBar(leave=False)
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The batches are views of memory maps, for which more workers would be slower.
        warnings.filterwarnings('ignore', message='.*does not have many workers.*')
        trainer = lightning.Trainer(
            max_steps=learning.steps, precision=settings.precision,  # type: ignore[arg-type]
            gradient_clip_val=learning.clip, logger=False, enable_checkpointing=False,
            enable_model_summary=False, use_distributed_sampler=False, devices=1,
            callbacks=[meter, bar])
        trainer.fit(stage, datamodule=batches)
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = {'title': title, **meter.result()}
    write_whole(path.with_suffix('.json'), json.dumps(measured, indent=2))
    # Last, since its presence says that the part is done.
    save_parts(path, stage.learned(stage.state_dict()), stage.sizes, {
        'ladder': settings.name, 'part': title})


def load_frozen(path: Path, part: str) -> nn.Module:
    """Load a trained part for evaluation."""
    return frozen(load_part(path, part)[0])


def measured(path: Path) -> dict[str, Any]:
    """Return what the training of a part took."""
    result: dict[str, Any] = json.loads(path.with_suffix('.json').read_text(encoding='utf-8'))
    return result
