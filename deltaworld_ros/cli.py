# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld`."""

from __future__ import annotations

import functools
import importlib
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deltaworld_ros import __version__
from deltaworld_ros.commands.benchmark import benchmark
from deltaworld_ros.commands.bundle import bundle_app
from deltaworld_ros.commands.convert import convert
from deltaworld_ros.commands.evaluate import evaluate
from deltaworld_ros.commands.export import export
from deltaworld_ros.commands.shared import (
    BagArgument,
    BundleOption,
    JsonOption,
    make_folders,
    progress,
    write_json,
)
from deltaworld_ros.errors import UserError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    help='Forecast what a camera will see: weighted futures of segmentation and depth.')
app.add_typer(bundle_app, name='bundle')
app.command()(benchmark)
app.command()(evaluate)
app.command()(convert)
app.command()(export)

_FORWARDED = {'allow_extra_args': True, 'ignore_unknown_options': True, 'help_option_names': []}


class Stamp(str, Enum):
    """What happens to the stamps of a replayed bag."""

    BAG = 'bag'
    NOW = 'now'


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(version: Annotated[bool, typer.Option(
        '--version', callback=_show_version, is_eager=True, help='Show the version.')] = False,
) -> None:
    pass


@app.command()
def demo(
    bag: Annotated[Path | None, typer.Option(help='Another recording than the sample.')] = None,
    bundle: BundleOption = 'street-lite0',
    output: Annotated[Path, typer.Option(help='Folder for the results.')] = Path('demo_output'),
    open_report: Annotated[bool, typer.Option(
        '--open/--no-open', help='Open the report in a browser.')] = False,
    json_path: JsonOption = None,
) -> None:
    """
    Drive a recording through the live node and report.

    Example: deltaworld demo --output demo_output
    """
    from deltaworld_ros.evaluate.demo import SAMPLE_BAG, run_demo
    from deltaworld_ros.evaluate.tables import rich_table
    # The children are ended on the way out, whoever asks for it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    make_folders(json_path, output / 'report.html')
    result = run_demo(output, bag=bag or SAMPLE_BAG, bundle=bundle)
    console = Console()
    for table in result.tables:
        console.print(rich_table(table))
    summary, latency = result.summary, result.summary['latency_ms']
    console.print(
        f'{summary["forecasts"]} forecasts ({summary["scored"]} scored) '
        f'at {summary["rate_hz"]:.1f} a second, '
        f'{latency["p50"]:.0f} ms after their picture (95 % within {latency["p95"]:.0f} ms), '
        f'{summary["dropped"]} pictures dropped')
    console.print(f'Report: {result.report}', soft_wrap=True)
    write_json(json_path, summary)
    if open_report:
        typer.launch(str(result.report))


@app.command()
def replay(
    bag: BagArgument,
    rate: Annotated[float, typer.Option(help='Speed; 1 is real time.')] = 1.0,
    loop: Annotated[bool, typer.Option('--loop', help='Start again at the end.')] = False,
    clock: Annotated[bool, typer.Option(
        '--clock', help='Publish /clock, for nodes with use_sim_time.')] = False,
    stamp: Annotated[Stamp, typer.Option(
        help='Keep the stamps of the bag, or shift them to start now.')] = Stamp.BAG,
    image: Annotated[str | None, typer.Option(
        help='Only this camera: its image topic.')] = None,
    image_topic: Annotated[str | None, typer.Option(
        help='Publish the images on this topic instead.')] = None,
    camera_info_topic: Annotated[str | None, typer.Option(
        help='Publish camera_info on this topic instead.')] = None,
    wait: Annotated[float, typer.Option(
        min=0, help='Wait up to this many seconds for subscribers.')] = 0.0,
    subscribers: Annotated[int, typer.Option(
        min=1, help='With --wait: how many nodes must listen to an image topic.')] = 1,
    quiet: Annotated[bool, typer.Option('--quiet', help='No progress bar.')] = False,
) -> None:
    """
    Publish a bag's images and camera_info on topics.

    Example: deltaworld replay drive --rate 0.5 --stamp now
    """
    _need_rclpy()
    from deltaworld_ros.evaluate.bag_messages import CameraMessages
    from deltaworld_ros.node.replay_node import ReplayOptions
    from deltaworld_ros.node.replay_node import replay as run_replay
    with CameraMessages(bag, image) as messages:
        count = messages.count
    options = ReplayOptions(
        rate=rate, loop=loop, clock=clock, stamp=stamp.value, image=image,
        image_topic=image_topic, camera_info_topic=camera_info_topic, wait=wait,
        subscribers=subscribers)
    with progress(disable=quiet) as bar:
        task = bar.add_task(bag.name, total=None if loop else count)
        run_replay(bag, options, functools.partial(bar.advance, task))


@app.command(context_settings=_FORWARDED)
def train(context: typer.Context) -> None:
    """
    Train networks or render worlds (needs the extra `train`).

    Example: deltaworld train world --seed 0 --clips 20 --bag street_test
    """
    try:
        training = importlib.import_module('deltaworld_training.cli')
    except ModuleNotFoundError as error:
        raise UserError(f'training needs the module {error.name}; install it with: '
                        'pip install "deltaworld_ros[train]"') from None
    training.app(args=context.args, prog_name='deltaworld train')


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 1."""
    try:
        app(prog_name='deltaworld')
    except UserError as error:
        print(f'deltaworld: {error}', file=sys.stderr)
        sys.exit(1)


def _need_rclpy() -> None:
    try:
        importlib.import_module('rclpy')
    except ImportError as error:
        raise UserError(f'this needs ROS 2 ({error}): source its setup.bash, or install the '
                        'wheels with: pip install "deltaworld_ros[ros]"') from None


if __name__ == '__main__':
    main()
