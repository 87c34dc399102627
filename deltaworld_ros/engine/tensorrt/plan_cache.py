# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep built engines in the user's cache directory, each under a key of what it depends on.

An engine is a program: whoever can put one there can run it. Only what this user kept is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deltaworld_ros.engine.private_folder import AlteredFile, cache_folder, keep, kept


def engine_folder() -> Path:
    """Return the folder of engines."""
    return cache_folder('engines')


def plan_key(parts: Mapping[str, Any]) -> str:
    """Return the key of everything an engine depends on: any other value is another engine."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cached_plan(
        path: Path, build: Callable[[], bytes], log: Callable[[str], None],
) -> bytes:
    """
    Read the engine at `path`, or build it and write it there.

    `log` gets one line where it is built, which says why. A folder that cannot be used costs a
    build each time and nothing else.
    """
    try:
        return kept(path)
    except AlteredFile as error:
        log(f'{path.name}: {error}; building it anew, which takes a while')
    except OSError:
        log(f'{path.name}: not in the cache; building it, which takes a while')
    plan = build()
    try:
        keep(path, plan)
    except OSError as error:
        log(f'{path}: cannot be written ({error.strerror or error}); it will be built again next '
            'time')
    return plan
