# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train closed-loop`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import check_outputs


def closed_loop(
    bundle: Annotated[str, typer.Option(help='Shipped name or folder.')] = 'street-lite0',
    worlds: Annotated[int, typer.Option(
        min=1, help='Worlds that are driven, each with every kind of information.')] = 500,
    folder: Annotated[Path, typer.Option(
        help='Where episodes are kept; a run that was stopped goes on.')] = Path(
            'runs/closed_loop'),
    seed: Annotated[int, typer.Option(min=0, help='First seed of the test worlds.')] = 50_000,
    jobs: Annotated[int, typer.Option(min=0, help='Processes; 0: one for each core.')] = 0,
    animations: Annotated[Path | None, typer.Option(
        help='Write an animation of the first world of each scenario into this folder.')] = None,
    markdown: Annotated[Path | None, typer.Option(help='Write the tables here.')] = None,
) -> None:
    """
    Drive the street world by present maps, forecasts and the true future, and compare.

    Example: deltaworld train closed-loop --worlds 500 --markdown closed_loop.md
    """
    from deltaworld_ros.bundle.whole_file import write_whole
    from deltaworld_training.closed_loop.report import tables
    from deltaworld_training.closed_loop.run import Driver, run_closed_loop
    check_outputs(markdown, animations and animations / 'file')
    records = run_closed_loop(bundle, folder, worlds, seed, jobs=jobs)
    text = tables(records)
    if markdown:
        write_whole(markdown, text)
    typer.echo(text)
    if animations:
        from deltaworld_training.closed_loop.animation import animate, chosen_worlds
        driver = Driver(bundle)
        animations.mkdir(parents=True, exist_ok=True)
        for scenario, chosen in chosen_worlds(records).items():
            path = animations / f'{scenario.replace(" ", "_").replace("-", "_")}.webp'
            animate(driver, chosen, path)
            typer.echo(f'{path}: world {chosen}, {path.stat().st_size / 1000:.0f} kB')
