# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Declare the table's parameters on a node, with the ranges that rclpy holds changes to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.parameter_files import foreign_parameter_files
from deltaworld_ros.node.parameter_table import PARAMETERS, ParameterRow

MAX_CAMERAS = 8
_NAME = re.compile('[A-Za-z][A-Za-z0-9_]*')


def declare_parameters(node: Node, table: Sequence[ParameterRow] = PARAMETERS) -> None:
    """
    Declare every parameter of a table on `node`, with its descriptor.

    Raise `UserError` that states the accepted values where the start-up value is refused.
    """
    for row in table:
        # Without type and range at first: rclpy would refuse a value in words of its own.
        node.declare_parameter(row.name, row.default, ParameterDescriptor(dynamic_typing=True))
        value = parameter(node, row.name)
        # `-p rectified:=true` arrives as a bool, and YAML has no way around the quotes.
        if isinstance(value, bool) and str(value).lower() in row.choices:
            node.set_parameters([Parameter(row.name, value=str(value).lower())])
        row.check(parameter(node, row.name))
        node.set_descriptor(row.name, _descriptor(row))


def parameter(node: Node, name: str) -> Any:
    """Return the value of a declared parameter."""
    return node.get_parameter(name).value


def camera_names(node: Node) -> list[str]:
    """
    Return the names of the node's cameras, one '' where there is only one.

    Raise `UserError` for names that cannot begin topics.
    """
    text = parameter(node, 'cameras')
    names = text.replace(',', ' ').split() or ['']
    wrong = [name for name in names if name and (
        not _NAME.fullmatch(name) or name.startswith('lead_'))]
    if wrong or len(set(names)) < len(names) or len(names) > MAX_CAMERAS:
        raise UserError(f'parameter cameras is {text!r}; accepted: at most {MAX_CAMERAS} '
                        'different names of letters, digits and underscores that begin with a '
                        'letter and not with lead_')
    return names


def ignored_parameters(
        node: Node, table: Sequence[ParameterRow], words: Sequence[str]) -> list[str]:
    """
    Return a line for each parameter and parameter file that was given and that rclpy ignores.

    `words` are those of the command line without the program.
    """
    names = [row.name for row in table]
    # rclpy offers no other way to see them.
    given = getattr(node, '_parameter_overrides', {})
    lines = foreign_parameter_files(node.get_fully_qualified_name(), given, words)
    for name in sorted(given):
        if node.has_parameter(name) or name.startswith('qos_overrides.'):
            continue
        near = difflib.get_close_matches(name, names, 1)
        lines.append(f'parameter {name} is unknown and ignored'
                     + (f'; do you mean {near[0]}?' if near else ''))
    return lines


def _descriptor(row: ParameterRow) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        type=Parameter.Type.from_parameter_value(row.default).value,
        description=row.description, read_only=not row.dynamic,
        additional_constraints=f'accepted: {row.accepted}')
    if row.minimum is not None and row.maximum is not None:
        if isinstance(row.default, int):
            descriptor.integer_range = [IntegerRange(
                from_value=int(row.minimum), to_value=int(row.maximum), step=0)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(
                from_value=float(row.minimum), to_value=float(row.maximum), step=0.0)]
    return descriptor
