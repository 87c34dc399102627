# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The networks of every kind by name, each registered in the file of its class."""

import pkgutil
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from deltaworld_ros import model
from deltaworld_ros.errors import UserError

# Every bundle has these parts; see `protocols` for what is asked of the first three.
PARTS = ('backbone', 'tokenizer', 'world', 'segmentation', 'depth')
# What only some bundles have, in a file of its own.
OPTIONAL_PARTS = ('painter',)

Network = TypeVar('Network', bound=type[nn.Module])
_classes: dict[str, dict[str, type[nn.Module]]] = {name: {} for name in PARTS + OPTIONAL_PARTS}


def register(part: str, kind: str) -> Callable[[Network], Network]:
    """Return a decorator that names a class `kind` among those of a part."""
    def add(network: Network) -> Network:
        _classes[part][kind] = network
        return network
    return add


def network_class(part: str, kind: object) -> type[Any]:
    """Return the class of a part by the `kind` that recipes and files name; or `UserError`."""
    _import_all()
    known = _classes[part]
    if not isinstance(kind, str) or kind not in known:
        raise UserError(f'{part}: unknown kind {kind!r}; known: {", ".join(sorted(known))}')
    return known[kind]


@lru_cache(maxsize=1)
def _import_all() -> None:
    """Import every file of the package: a class registers itself when it is defined."""
    for module in pkgutil.iter_modules(model.__path__):
        import_module(f'{model.__name__}.{module.name}')
