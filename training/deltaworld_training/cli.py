# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands `deltaworld train ...`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_training.recipe import load_recipe

app = typer.Typer(no_args_is_help=True, help='Train the networks of a bundle, offline.')


@app.command()
def bundle(
    output: Annotated[Path, typer.Option(help='Folder of the run; kept steps are not redone.')],
    recipe: Annotated[str, typer.Option(help='A shipped recipe or a YAML file.')] = 'street-cpu',
    videos: Annotated[Path | None, typer.Option(
        help='Folder with the dashcam clips that the recipe names.')] = None,
) -> None:
    """
    Train a bundle from nothing: data, tokenizer, predictor, heads, export.

    Example: deltaworld train bundle --recipe street-cpu --videos clips --output runs/street
    """
    from deltaworld_training.bundle_run import BundleRun
    folder = BundleRun(load_recipe(recipe), output, videos).run()
    typer.echo(f'Wrote the bundle {folder}')
