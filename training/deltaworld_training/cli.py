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


@app.command()
def world(
    bag: Annotated[Path, typer.Option(help='Folder of the new rosbag2 (mcap).')],
    seed: Annotated[int, typer.Option(
        min=0, help='First seed. Below 100000: the test split, which no training sees.')] = 0,
    clips: Annotated[int, typer.Option(min=1, help='One clip a seed.')] = 20,
    seconds: Annotated[float, typer.Option(min=1.4, help='Length of each clip.')] = 3.0,
    rate: Annotated[float, typer.Option(min=1.0, help='Frames a second.')] = 10.0,
    width: Annotated[int, typer.Option(min=64)] = 320,
    height: Annotated[int, typer.Option(min=64)] = 192,
) -> None:
    """
    Render the street world with its ground truth as a bag.

    Example: deltaworld train world --seed 0 --clips 40 --bag street_test
    """
    from deltaworld_training.data.world_bag import write_world_bag
    frames = write_world_bag(bag, range(seed, seed + clips), seconds, rate, (width, height))
    typer.echo(f'Wrote {frames} frames to {bag}')
