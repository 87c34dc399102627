# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands that run the stages of one kind."""

from pathlib import Path

import typer

from deltaworld_training.commands.shared import (
    OutputOption,
    RecipeOption,
    StageOption,
    VideosOption,
)
from deltaworld_training.runs.recipe import load_recipe


def tokenizer(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train the tokenizer of a recipe; more options go to Lightning.

    Example: deltaworld train tokenizer --output runs/x --trainer.max_steps=100 --model.rate=1e-3
    """
    _train('tokenizer', context.args, output, recipe, stage, videos)


def joint(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train a recipe's tokenizer and predictor together; more options go to Lightning.

    Example: deltaworld train joint --output runs/street --trainer.max_steps=100
    """
    _train('joint', context.args, output, recipe, stage, videos)


def predictor(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train the predictor of a recipe, after its tokenizer; more options go to Lightning.

    Example: deltaworld train predictor --output runs/x --model.candidates=64
    """
    _train('predictor', context.args, output, recipe, stage, videos)


def dino_world(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'dino-world-paper',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train DINO-world, the predictor over patch tokens; more options go to Lightning.

    Example: deltaworld train dino-world --output runs/x --stage best-of-many-256
    """
    _train('dino-world', context.args, output, recipe, stage, videos)


def foresight(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'dino-foresight',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train DINO-Foresight, over patches or delta tokens; more options go to Lightning.

    Example: deltaworld train foresight --output runs/x --stage foresight-delta
    """
    _train('foresight', context.args, output, recipe, stage, videos)


def heads(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train the segmentation and depth heads of a recipe; more options go to Lightning.

    Example: deltaworld train heads --output runs/x --trainer.max_steps=500
    """
    _train('heads', context.args, output, recipe, stage, videos)


def painter(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-painter',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train a painter, which makes pictures of features; more options go to Lightning.

    Example: deltaworld train painter --output runs/painter
    --model.backbone=runs/street-cpu/backbone.safetensors
    """
    _train('painter', context.args, output, recipe, stage, videos)


def _train(
    kind: str, overrides: list[str], output: Path, recipe: str, stage: str | None,
    videos: Path | None,
) -> None:
    """Run the stages of one kind, after the features that the recipe caches."""
    from deltaworld_training.runs.stage import run_kind
    for path in run_kind(load_recipe(recipe), kind, stage, output, videos, overrides):
        typer.echo(f'Wrote {path}')
