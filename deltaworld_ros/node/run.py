# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node until it is interrupted, and end it in order, in one line where it cannot start."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.arguments import answer
from deltaworld_ros.node.parameter_table import ParameterRow
from deltaworld_ros.node.parameters import ignored_parameters
from deltaworld_ros.node.throttled_log import in_one_line

AnyNode = TypeVar('AnyNode', bound=Node)


def run_node(
    name: str, summary: str, table: Sequence[ParameterRow], make: Callable[[], AnyNode],
    arguments: list[str] | None = None, start: Callable[[AnyNode], None] = lambda node: None,
) -> int:
    """
    Make a node, start it, and spin it; return the exit code of the process.

    `name` is that of the program, which begins its error messages; `summary` and the `table` of
    its parameters are its help. `arguments` are the command line, that of the process by default.
    """
    words = (sys.argv if arguments is None else arguments)[1:]
    code = answer(name, summary, table, words)
    if code is not None:
        return code
    def begin(node: AnyNode) -> None:
        for line in ignored_parameters(node, table, words):
            node.get_logger().warning(line)
        start(node)

    try:
        spin_until_interrupted(make, begin, arguments)
    except UserError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 1
    return 0


def spin_until_interrupted(
    make: Callable[[], AnyNode], start: Callable[[AnyNode], None] = lambda node: None,
    arguments: list[str] | None = None,
) -> AnyNode | None:
    """
    Make a node, start it, spin it and destroy it; return it, or None if it was never made.

    An interrupt at any time ends this in order; `UserError` where ROS refuses the node.
    """
    # A launch repeats the terminal's Ctrl-C; the second one must not break the orderly end that
    # rclpy's own handler starts with the first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Otherwise the handler of `end_when_interrupted` would run after rclpy's and end the process.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    node = None
    initialised = False
    try:
        rclpy.init(args=arguments)
        initialised = True
        # One that is made after an interrupt leaves a traceback when it goes.
        executor = SingleThreadedExecutor()
        node = make()
        start(node)
        rclpy.spin(node, executor)
    except UserError:
        raise
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    # What rclpy raises for a bad argument, file or name, or once an interrupt has come, has types
    # of its own from version to version.
    except Exception as error:
        if not initialised or (node is None and rclpy.ok()):
            raise UserError(in_one_line(error)) from None
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return node

