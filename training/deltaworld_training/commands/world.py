# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train world`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import MAX_SIDE, no_nan


def world(
    bag: Annotated[Path, typer.Option(help='Folder of the new rosbag2 (mcap).')],
    seed: Annotated[int, typer.Option(
        min=0, help='First seed. Below 100000: the test split, which no training sees.')] = 0,
    clips: Annotated[int, typer.Option(min=1, help='One clip a seed.')] = 20,
    seconds: Annotated[float, typer.Option(
        min=1.4, max=3600.0, callback=no_nan, help='Length of each clip.')] = 3.0,
    rate: Annotated[float, typer.Option(
        min=1.0, max=1000.0, callback=no_nan, help='Frames a second.')] = 10.0,
    width: Annotated[int, typer.Option(min=64, max=MAX_SIDE)] = 320,
    height: Annotated[int, typer.Option(min=64, max=MAX_SIDE)] = 192,
) -> None:
    """
    Render the street world with its ground truth as a bag.

    Example: deltaworld train world --seed 0 --clips 40 --bag street_test
    """
    from deltaworld_training.data.world_bag import write_world_bag
    frames = write_world_bag(bag, range(seed, seed + clips), seconds, rate, (width, height))
    typer.echo(f'Wrote {frames} frames to {bag}')
