# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The budgets of the ladder: one for all of its rows."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from deltaworld_ros.bundle.class_lists import STREET as CLASSES
from deltaworld_ros.bundle.yaml_file import find_yaml, read_yaml
from deltaworld_ros.errors import UserError
from deltaworld_ros.model.registry import network_class
from deltaworld_training.ladder.rows import Row, RowTokenizer
from deltaworld_training.runs.recipe import ImageSettings

BACKBONE = 'efficientnet_lite0'
BUDGETS = Path(__file__).parents[1] / 'recipes' / 'ladder'
DEPTH_MINIMUM = 1e-3   # m
DEPTH_MAXIMUM = 80.0


class Learning(BaseModel, extra='forbid'):
    """How a part is optimised: AdamW, a linear warm-up and a cosine."""

    batch: int = Field(gt=0, description='windows of a step')
    steps: int = Field(gt=0)
    rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warm_up: int = Field(ge=0)
    clip: float | None = Field(default=None, description='largest norm of the gradients')


class TransformerSettings(BaseModel, extra='forbid'):
    """The sizes of a tokenizer's halves or of a predictor."""

    heads: int
    layers: int
    mlp_size: int


class CompactSettings(BaseModel, extra='forbid'):
    """The sizes of the compact tokenizer."""

    token_size: int
    size: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mlp_size: int
    code_channels: int


class ScalingSettings(BaseModel, extra='forbid'):
    """The numbers of candidates and samples of the best-of-many figure."""

    training: list[int]
    evaluation: list[int]


class LadderSettings(BaseModel, extra='forbid'):
    """Everything that the rows share."""

    name: str
    workers: int = Field(gt=0, description='processes that render')
    precision: str = Field(description="of training, in Lightning's words")
    image: ImageSettings
    feature_size: int
    basis_clips: int
    train_clips: int
    test_clips: int
    frames: int = Field(ge=7, description='of a training window')
    stride: float = Field(gt=0, description='s between the frames of the test')
    context: int = Field(ge=1)
    steps: int = Field(ge=1)
    samples: int = Field(ge=1)
    candidates: int = Field(ge=1, description='K of best-of-many')
    layer_scale: float
    tokenizer: TransformerSettings
    tokenizer_learning: Learning
    compact: CompactSettings
    predictor_size: int
    predictor: TransformerSettings
    predictor_learning: Learning
    heads_learning: Learning
    scaling: ScalingSettings
    diversity_pasts: int = Field(ge=0, description='pasts with all their true futures')

    @property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns of the features."""
        stride: Any = network_class('backbone', BACKBONE).stride
        return self.image.height // stride, self.image.width // stride

    def backbone_sizes(self) -> dict[str, Any]:
        """Return the arguments of the backbone."""
        return {'kind': BACKBONE, 'feature_size': self.feature_size}

    def values(self) -> dict[str, Any]:
        """Return all settings, ready for JSON."""
        # pydantic 1.10 (Ubuntu's) has no model_dump; pydantic 2 warns about dict().
        dump = getattr(self, 'model_dump', None) or self.dict
        values: dict[str, Any] = dump()
        return values

    def tokenizer_sizes(self, tokenizer: RowTokenizer) -> dict[str, Any]:
        """Return the arguments of a row's tokenizer."""
        if tokenizer.kind == 'compact':
            return {'kind': 'compact', 'feature_size': self.feature_size,
                    'grid': list(self.grid), 'layer_scale': self.layer_scale,
                    **dict(self.compact)}
        return {'kind': 'delta', 'grid': list(self.grid), 'size': self.feature_size,
                'gated': False, 'frame_tokens': tokenizer.frame_tokens,
                'layer_scale': self.layer_scale, **dict(self.tokenizer)}

    def world_sizes(self, row: Row) -> dict[str, Any]:
        """Return the arguments of the row's predictor; only what it predicts differs."""
        if row.world == 'foresight':
            token = row.tokenizer is not None
            return {'kind': 'foresight', 'size': self.predictor_size,
                    'feature_size': self.feature_size, 'frames': self.context + 1,
                    'grid': [1, 1] if token else list(self.grid), **dict(self.predictor)}
        sizes = {'size': self.predictor_size, 'learned_query': row.learned_query,
                 'layer_scale': self.layer_scale, **dict(self.predictor)}
        if row.tokenizer is None:
            return {'kind': 'spatial', 'feature_size': self.feature_size, **sizes}
        compact = row.tokenizer.kind == 'compact'
        token_size = self.compact.token_size if compact else self.feature_size
        return {'kind': 'deltaworld', 'token_size': token_size, **sizes}

    def head_sizes(self) -> dict[str, dict[str, Any]]:
        """Return the arguments of both heads."""
        return {
            'segmentation': {
                'kind': 'linear', 'size': self.feature_size, 'classes': len(CLASSES)},
            'depth': {'kind': 'linear', 'size': self.feature_size, 'minimum': DEPTH_MINIMUM,
                      'maximum': DEPTH_MAXIMUM},
        }


def load_budget(name_or_path: str) -> LadderSettings:
    """Read a shipped budget by name or a YAML file by path."""
    path = find_yaml(BUDGETS, name_or_path, '--budget')
    settings = read_yaml(path)
    try:
        return LadderSettings(**settings)
    except (ValidationError, TypeError) as error:
        raise UserError(f'{path}: {" ".join(str(error).split())}') from None
