# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld`; each of its commands is a file in commands/."""

from __future__ import annotations

from typing import Annotated

import typer

from deltaworld_ros import __version__
from deltaworld_ros.commands.benchmark import benchmark
from deltaworld_ros.commands.bundle import bundle_app
from deltaworld_ros.commands.convert import convert
from deltaworld_ros.commands.demo import demo
from deltaworld_ros.commands.evaluate import evaluate
from deltaworld_ros.commands.export import export
from deltaworld_ros.commands.replay import replay
from deltaworld_ros.commands.train import FORWARDED, train
from deltaworld_ros.errors import mistakes_in_one_line

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    help='Forecast what a camera will see: weighted futures of segmentation and depth.')
app.add_typer(bundle_app, name='bundle')
for command in (demo, evaluate, replay, benchmark, convert, export):
    app.command()(command)
app.command(context_settings=FORWARDED)(train)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(version: Annotated[bool, typer.Option(
        '--version', callback=_show_version, is_eager=True, help='Show the version.')] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 1."""
    with mistakes_in_one_line():
        app(prog_name='deltaworld')


if __name__ == '__main__':
    main()
