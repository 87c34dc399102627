# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answer `--help` and unknown words on the command line of a node, which rclpy lets pass."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from deltaworld_ros.node.parameter_table import ParameterRow

_WIDTH = 99


def answer(program: str, summary: str, table: Sequence[ParameterRow],
           words: Sequence[str]) -> int | None:
    """
    Return an exit code where the node must not start, after saying why; otherwise None.

    `words` are those of the command line without the program.
    """
    own = _own_words(words)
    if {'-h', '--help'} & set(own):
        print(_help(program, summary, table))
        return 0
    if own:
        print(f'{program}: unknown argument {own[0]!r}; parameters and remappings come after '
              f'--ros-args (see {program} --help)', file=sys.stderr)
        return 1
    return None


def ros_words(words: Sequence[str]) -> list[str]:
    """Return the words that are ROS's: between `--ros-args` and `--`."""
    return [word for word, ros in _sorted(words) if ros]


def _own_words(words: Sequence[str]) -> list[str]:
    return [word for word, ros in _sorted(words) if not ros]


def _sorted(words: Sequence[str]) -> list[tuple[str, bool]]:
    found, ros = [], False
    for word in words:
        if word == '--ros-args':
            ros = True
        elif word == '--' and ros:
            ros = False
        else:
            found.append((word, ros))
    return found


def _help(program: str, summary: str, table: Sequence[ParameterRow]) -> str:
    lines = [f'usage: {program} [--ros-args [-p PARAMETER:=VALUE] [--params-file FILE] '
             '[-r NAME:=NAME] ...]', '', summary, '', 'parameters:']
    for row in table:
        default = str(row.default).lower() if isinstance(row.default, bool) else row.default
        lines.append(f'  {row.name}: {row.type_name}, {row.accepted}; '
                     f'default {"empty" if default == "" else default}')
        lines += textwrap.wrap(row.description, _WIDTH, initial_indent=' ' * 6,
                               subsequent_indent=' ' * 6)
    return '\n'.join(lines)
