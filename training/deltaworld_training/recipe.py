# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The validated settings of a training run, read from a YAML recipe."""

from pathlib import Path

import yaml
from pydantic import BaseModel, Field, ValidationError

from deltaworld_ros.errors import UserError

RECIPES = Path(__file__).parent / 'recipes'


class ImageSettings(BaseModel, extra='forbid'):
    """The graph's input in pixels; both sides divisible by 32."""

    width: int = Field(multiple_of=32, gt=0)
    height: int = Field(multiple_of=32, gt=0)
    focal_length: float = Field(gt=0, description='canonical, in pixels at this width')


class DataSettings(BaseModel, extra='forbid'):
    """What is rendered and cut from videos."""

    clip_frames: int = Field(ge=7)
    street_clips: int = Field(gt=0)
    video_clips: int = Field(ge=0)
    videos: list[str] = Field(description='file names in the folder given with --videos')


class TokenizerSettings(BaseModel, extra='forbid'):
    """The compact tokenizer and its training."""

    feature_size: int
    token_size: int
    size: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mlp_size: int
    code_channels: int
    window: int = Field(ge=2, description='frames decoded one on top of the other')
    batch: int
    rate: float
    weight_decay: float
    warm_up: int
    steps: int


class PredictorSettings(BaseModel, extra='forbid'):
    """The predictor and its training."""

    size: int
    heads: int
    layers: int
    mlp_size: int
    candidates: int = Field(description='K of best-of-many')
    token_noise: float
    batch: int
    rate: float
    weight_decay: float
    warm_up: int
    steps: int


class HeadSettings(BaseModel, extra='forbid'):
    """The linear heads' training."""

    batch: int
    rate: float
    steps: int


class ForecastSettings(BaseModel, extra='forbid'):
    """The semantics of the bundle's forecasts."""

    stride: float
    steps: int
    context_length: int
    samples: int
    futures: int
    selection_dimensions: int


class Recipe(BaseModel, extra='forbid'):
    """One training run of a bundle."""

    name: str
    seed: int
    workers: int
    image: ImageSettings
    data: DataSettings
    tokenizer: TokenizerSettings
    predictor: PredictorSettings
    heads: HeadSettings
    forecast: ForecastSettings

    @property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns of the features."""
        return self.image.height // 16, self.image.width // 16


def load_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name or a YAML file by path."""
    path = Path(name_or_path)
    if not path.suffix:
        path = RECIPES / f'{name_or_path}.yaml'
    if not path.is_file():
        names = ', '.join(sorted(p.stem for p in RECIPES.glob('*.yaml')))
        raise UserError(f'recipe {name_or_path!r} not found; give a YAML file or one of: {names}')
    try:
        return Recipe(**yaml.safe_load(path.read_text()))
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise UserError(f'{path}: {" ".join(str(error).split())}') from error
