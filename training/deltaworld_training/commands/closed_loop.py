# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train closed-loop`."""

from pathlib import Path
from typing import Annotated

import typer


def closed_loop(
    bundle: Annotated[str, typer.Option(help='Shipped name or folder.')] = 'street-lite0',
    worlds: Annotated[int, typer.Option(
        min=1, help='Worlds that are driven, each with every kind of information.')] = 500,
    folder: Annotated[Path, typer.Option(
        help='Where episodes are kept; a run that was stopped goes on.')] = Path(
            'runs/closed_loop'),
    seed: Annotated[int, typer.Option(min=0, help='First seed of the test worlds.')] = 50_000,
    markdown: Annotated[Path | None, typer.Option(help='Write the tables here.')] = None,
) -> None:
    """
    Drive the street world by present maps, forecasts and the true future, and compare.

    Example: deltaworld train closed-loop --worlds 500 --markdown closed_loop.md
    """
    from deltaworld_training.closed_loop.report import tables
    from deltaworld_training.closed_loop.run import run_closed_loop
    text = tables(run_closed_loop(bundle, folder, worlds, seed))
    if markdown:
        markdown.write_text(text, encoding='utf-8')
    typer.echo(text)
