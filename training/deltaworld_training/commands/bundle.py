# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands `deltaworld train bundle` and `features`."""

import typer

from deltaworld_training.commands.shared import OutputOption, RecipeOption, VideosOption
from deltaworld_training.runs.recipe import load_recipe


def bundle(
    output: OutputOption, recipe: RecipeOption = 'street-cpu', videos: VideosOption = None,
) -> None:
    """
    Train a bundle from nothing: data, tokenizer, predictor, heads, export.

    Example: deltaworld train bundle --recipe street-cpu --videos clips --output runs/street
    """
    from deltaworld_training.runs.bundle import BundleRun
    folder = BundleRun(load_recipe(recipe), output, videos).run()
    typer.echo(f'Wrote the bundle {folder}')


def features(
    output: OutputOption, recipe: RecipeOption = 'street-cpu', videos: VideosOption = None,
) -> None:
    """
    Only render and cache the features that a recipe trains on, in one process.

    Example: deltaworld train features --recipe street-gpu --videos clips --output runs/street
    """
    from deltaworld_training.runs.bundle import BundleRun
    BundleRun(load_recipe(recipe), output, videos).prepare()
