# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tell of parameter files for nodes of other names, which rclpy ignores without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deltaworld_ros.bundle.yaml_file import read_yaml
from deltaworld_ros.errors import UserError
from deltaworld_ros.node.arguments import ros_words

_KEY = 'ros__parameters'


def foreign_parameter_files(
        node: str, given: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    """
    Return a line for each parameter file that has nothing for a node of this full name.

    `given` are the parameters that reached the node; `words` are those of the command line.
    """
    lines = []
    ours = ros_words(words)
    for flag, path in zip(ours, ours[1:], strict=False):
        if flag != '--params-file':
            continue
        try:
            parts = list(_parts(read_yaml(Path(path))))
        except UserError:   # rcl has judged it
            continue
        if parts and not any(_matches(name, node) and names <= set(given)
                             for name, names in parts):
            others = ', '.join(name for name, _ in parts)
            lines.append(f'parameter file {path} is ignored: it is for {others}, and this node is '
                         f'{node}; /** is for any node')
    return lines


def _parts(tree: Any, name: str = '') -> Iterator[tuple[str, set[str]]]:
    """Yield the node names of a file, which namespaces may nest, and their parameters."""
    if not isinstance(tree, Mapping):
        return
    for key, value in tree.items():
        if key == _KEY:
            yield name, set(_flat(value))
        else:
            yield from _parts(value, f'{name}/{str(key).strip("/")}')


def _flat(tree: Any, prefix: str = '') -> Iterator[str]:
    for key, value in tree.items() if isinstance(tree, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def _matches(pattern: str, node: str) -> bool:
    expression = re.escape(pattern).replace(r'/\*\*', '(?:/.*)?').replace(r'\*', '[^/]*')
    return re.fullmatch(expression, node) is not None
