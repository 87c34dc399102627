# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options and output that the commands share."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deltaworld_ros.bundle.whole_file import check_writable, write_whole
from deltaworld_ros.camera.choices import Fit, Rectified
from deltaworld_ros.errors import UserError

BundleOption = Annotated[str, typer.Option(help='Name of a shipped bundle, or a bundle folder.')]
EngineOption = Annotated[str, typer.Option(
    help='Engine that runs the graphs; auto takes the first that passes the check.')]
ThreadsOption = Annotated[int, typer.Option(
    min=0, max=256, help='CPU threads; 0: the engine chooses.')]
SamplesOption = Annotated[int | None, typer.Option(
    min=1, max=65536, help="Futures to sample; default: the bundle's number.")]
FuturesOption = Annotated[int | None, typer.Option(
    min=1, max=256, help="Futures to choose and decode; default: the bundle's number.")]
FitOption = Annotated[Fit, typer.Option(
    help='crop keeps the aspect and cuts what stands out, squash keeps the whole frame.')]
RectifiedOption = Annotated[Rectified, typer.Option(
    help='true: P of camera_info describes the images, false: K; auto: P where the last name of '
         'the image topic has _rect in it, or K is empty.')]
JsonOption = Annotated[Path | None, typer.Option('--json', help='Write the figures here.')]
ViewOption = Annotated[bool, typer.Option(
    '--view', help='Show the forecasts live in Foxglove instead; needs no ROS.')]
PortOption = Annotated[int, typer.Option(
    min=0, max=65535, help='With --view: port of the server; 0: any that is free.')]
# The largest image that a bundle can ask for, in pixels of one side.
MAX_SIDE = 8192
_SIZE = re.compile(r'(\d{1,5})(?:x(\d{1,5}))?')
BagArgument = Annotated[Path, typer.Argument(
    help='A rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.')]


def no_nan(value: float | None) -> float | None:
    """Refuse NaN as the value of an option, which passes every comparison with limits."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter('nan is not a number.')
    return value


def note(line: str) -> None:
    """Print a line on the error stream, beside the results."""
    print(line, file=sys.stderr)


def output_console(stderr: bool = False) -> Console:
    """Return a console that prints names from bundles, bags and paths as they are."""
    return Console(markup=False, emoji=False, stderr=stderr)


def progress(disable: bool = False) -> Progress:
    """Return a bar on the error stream for long work."""
    return Progress(
        TextColumn('{task.description}', style='progress.description', markup=False),
        *Progress.get_default_columns()[1:-1], MofNCompleteColumn(), TimeRemainingColumn(),
        console=output_console(stderr=True), disable=disable)


def write_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write the figures where a path is given; raise `UserError` where that fails."""
    if path:
        write_whole(path, json.dumps(data, indent=2, allow_nan=False) + '\n')


def check_outputs(*paths: Path | None) -> None:
    """Make the folders of output files, and raise `UserError` for those that cannot be written.

    Called before the long work, which would be lost.
    """
    given = [path for path in paths if path]
    for path in given:
        check_writable(path)
        if given.count(path) > 1 and (path.is_file() or not path.exists()):
            raise UserError(f'{path}: is named for two results, of which one would be lost')


def read_size(text: str | None) -> tuple[int, int] | None:
    """Return height and width in pixels of a size such as 512 or 640x384; None for none."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if not match:
        raise UserError(f'--size {text!r}: must be N or WIDTHxHEIGHT, for example 512 or 640x384')
    return int(match[2] or match[1]), int(match[1])


@contextmanager
def needing_export(who: str) -> Iterator[None]:
    """Say which extra to install where an import for `who` lacks a module."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f'{who} needs the module {error.name}; install it with: '
                        'pip install "deltaworld_ros[export]"') from None


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep what torch's exporter says of its own insides from the terminal."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def show_live(bag: Path, bundle: str, port: int, *, rate: float = 1.0, loop: bool = False,
              image: str | None = None) -> None:
    """Serve a recording and its forecasts to Foxglove until its end or an interrupt."""
    from deltaworld_ros.bags.frames import BagFrames
    from deltaworld_ros.bags.messages import check_rate
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.engine import load_engine
    from deltaworld_ros.evaluate.live_view import PictureServer, show_bag
    check_rate(rate)
    with BagFrames(bag, image=image):   # a mistake is told now, not when somebody looks
        pass
    loaded = load_bundle(bundle)
    engine = load_engine(loaded, log=note, apart_first=True)
    try:
        with PictureServer(loaded.manifest, port) as server:
            note(f'Foxglove: open the connection {server.address} and import the layout '
                 'config/foxglove_view_layout.json. It starts when somebody looks; Ctrl-C ends it')
            show_bag(bag, loaded, engine, server, rate=rate, loop=loop, image=image)
    except KeyboardInterrupt:
        pass
    finally:
        engine.close()
