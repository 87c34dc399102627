# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld replay`."""

from __future__ import annotations

import functools
import importlib
from enum import Enum
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import (
    BagArgument,
    BundleOption,
    PortOption,
    ViewOption,
    no_nan,
    progress,
    show_live,
)
from deltaworld_ros.errors import UserError


class Stamp(str, Enum):
    """What happens to the stamps of a replayed bag."""

    BAG = 'bag'
    NOW = 'now'


def replay(
    bag: BagArgument,
    rate: Annotated[float, typer.Option(
        callback=no_nan, help='Speed; 1 is real time.')] = 1.0,
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
        min=0, callback=no_nan, help='Wait up to this many seconds for subscribers.')] = 0.0,
    subscribers: Annotated[int, typer.Option(
        min=1, help='With --wait: how many nodes must listen to an image topic.')] = 1,
    view: ViewOption = False,
    bundle: BundleOption = 'street-lite0',
    port: PortOption = 8765,
    quiet: Annotated[bool, typer.Option('--quiet', help='No progress bar.')] = False,
) -> None:
    """
    Publish a bag's images and camera_info on topics.

    Example: deltaworld replay drive --rate 0.5 --stamp now
    Example: deltaworld replay drive --view
    """
    if view:
        show_live(bag, bundle, port, rate=rate, loop=loop, image=image)
        return
    _need_rclpy()
    from deltaworld_ros.bags.messages import CameraMessages
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


def _need_rclpy() -> None:
    try:
        importlib.import_module('rclpy')
    except ImportError as error:
        raise UserError(f'this needs ROS 2 ({error}): source its setup.bash, or install the '
                        'wheels with: pip install "deltaworld_ros[ros]"') from None
