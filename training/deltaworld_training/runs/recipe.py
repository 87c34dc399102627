# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The validated settings of a training run, read from a YAML recipe."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from deltaworld_ros.bundle.manifest import name_problem
from deltaworld_ros.bundle.yaml_file import find_yaml, read_yaml
from deltaworld_ros.errors import UserError

RECIPES = Path(__file__).parents[1] / 'recipes'


class ImageSettings(BaseModel, extra='forbid'):
    """The graph's input in pixels; both sides divisible by 32."""

    width: int = Field(multiple_of=32, gt=0)
    height: int = Field(multiple_of=32, gt=0)
    focal_length: float = Field(gt=0, description='canonical, in pixels at this width')


class VideoSettings(BaseModel, extra='forbid'):
    """
    A video to train on, and what the bundle has to state of it.

    horizon: row of a flat road's horizon as a share of the picture's height; with it the road
    teaches the depth head, from `camera_height` metres above it.
    """

    file: str = Field(pattern=r'^[^/\\]+$', description='name in the folder given with --videos')
    start: float = Field(0.0, ge=0, description='s')
    end: float | None = Field(None, gt=0, description='s, the end if none')
    horizon: float | None = Field(None, gt=0, lt=1)
    camera_height: float = Field(1.2, gt=0)
    origin: str | None = None
    licence: str | None = None
    copyright: str | None = None
    places: list[str] = Field([], description='where it is published')


class DataSettings(BaseModel, extra='forbid'):
    """What is rendered and cut from videos."""

    clip_frames: int = Field(ge=7)
    street_clips: int = Field(gt=0)
    street_first: int = Field(0, ge=0, description='clips that an earlier run saw')
    junction_clips: int = Field(0, ge=0, description='rendered where the next turn is open')
    video_clips: int = Field(ge=0)
    head_worlds: int = Field(0, ge=0, description='rendered in strong looks for the heads')
    head_frames: int = Field(0, ge=0, description='of videos, for the heads')
    calibration_clips: int = Field(0, ge=0, description='rendered to fit the confidence')
    calibration_videos: list[VideoSettings] = []
    videos: list[VideoSettings]

    @property
    def used_videos(self) -> list[VideoSettings]:
        """Return the videos that any source draws from."""
        return self.videos if self.video_clips or self.head_frames else []


class StageSettings(BaseModel, extra='forbid'):
    """
    One run of Lightning's command line: the sections `model`, `data` and `trainer`.

    A stage that names another in `after` takes over that one's settings, changes those it gives,
    and starts from its weights, or with `resume` from its optimiser and step too. In every text
    `{run}` stands for the run's folder.
    """

    stage: Literal[
        'tokenizer', 'joint', 'predictor', 'dino-world', 'foresight', 'heads', 'painter']
    after: str | None = None
    resume: bool = False
    model: dict[str, Any] = {}
    data: dict[str, Any] = {}
    trainer: dict[str, Any] = {}


class ForecastSettings(BaseModel, extra='forbid'):
    """The semantics of the bundle's forecasts."""

    stride: float
    steps: int
    context_length: int
    samples: int
    futures: int
    selection_dimensions: int
    fused: Literal['features', 'tokens'] = 'features'


class Recipe(BaseModel, extra='forbid'):
    """
    One training run: its stages in their order.

    A recipe with `start`, a bundle, keeps that one's backbone; its stages can begin with the
    other networks in `{run}/start.safetensors`. One with `data` renders and caches features
    first (`backbone` says of which network), and one with `forecast` ends in a bundle.
    """

    name: str
    seed: int = 0
    workers: int = Field(1, ge=1)
    start: str | None = None
    backbone: dict[str, Any] | None = None
    image: ImageSettings | None = None
    data: DataSettings | None = None
    forecast: ForecastSettings | None = None
    stages: dict[str, StageSettings]

    @property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns of the features."""
        from deltaworld_ros.model.registry import network_class
        image = self.needed('image')
        stride: Any = network_class('backbone', self.needed('backbone').get('kind')).stride
        return image.height // stride, image.width // stride

    def needed(self, section: str) -> Any:
        """Return a section that a run needs; one that is missing raises `UserError`."""
        value = getattr(self, section)
        if value is None:
            raise UserError(f'recipe {self.name}: has no section {section!r}, so no bundle can '
                            'be made from it; run its stages one by one')
        return value

    def names(self, kind: str) -> list[str]:
        """Return the names of the stages of one kind, in their order."""
        return [name for name, stage in self.stages.items() if stage.stage == kind]

    def settings(self, name: str) -> StageSettings:
        """Return a stage's settings with those that it takes over."""
        own = self.stages[name]
        if own.after is None:
            return own
        before = self.settings(own.after)
        return StageSettings(
            stage=own.stage, after=own.after, resume=own.resume,
            model=_merged(before.model, own.model), data=_merged(before.data, own.data),
            trainer=_merged(before.trainer, own.trainer))


def _merged(before: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of `before` with those of `own` in their place, at every depth."""
    result = dict(before)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def load_recipe(name_or_path: str) -> Recipe:
    """
    Read a shipped recipe by name or a YAML file by path.

    A file with `base`, the name of a shipped recipe, changes what it gives in that one's settings
    at every depth; lists are replaced.
    """
    path = find_yaml(RECIPES, name_or_path, 'recipe')
    settings = read_yaml(path)
    if isinstance(settings, dict) and 'base' in settings:
        base = find_yaml(RECIPES, str(settings.pop('base')), 'base')
        settings = _merged(read_yaml(base), settings)
    try:
        recipe = Recipe(**settings)
    except (ValidationError, TypeError) as error:
        raise UserError(f'{path}: {" ".join(str(error).split())}') from error
    problem = name_problem(recipe.name)
    if problem:
        raise UserError(f'{path}: name: {problem}')
    known: list[str] = []
    for name, stage in recipe.stages.items():
        if stage.after is not None and stage.after not in known:
            raise UserError(f'{path}: stage {name}: after: {stage.after!r} is no earlier stage')
        known.append(name)
    return recipe
