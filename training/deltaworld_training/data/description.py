# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a kept result was made from, so that work of other settings is never taken for it."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltaworld_ros.errors import UserError

SHOWN = 3
EDGE = 1 << 20  # bytes


def fingerprint(path: Path) -> str:
    """Return a hash of a file's size, first and last MiB, or of all files of a folder."""
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob('*') if file.is_file()) if path.is_dir() else [path]
    for file in files:
        with open(file, 'rb') as opened:
            size = os.fstat(opened.fileno()).st_size
            digest.update(f'{file.name} {size} '.encode())
            digest.update(opened.read(EDGE))
            opened.seek(max(EDGE, size - EDGE))
            digest.update(opened.read(EDGE))
    return digest.hexdigest()[:16]


def check_description(kept: Any, present: Any, what: str | Path) -> None:
    """Raise `UserError` where a kept result was made with other settings than the present."""
    differing = list(_differences(kept, json.loads(json.dumps(present, default=str))))
    if differing:
        more = '' if len(differing) <= SHOWN else f' and {len(differing) - SHOWN} more'
        raise UserError(
            f'{what}: was made with other settings ({"; ".join(differing[:SHOWN])}{more}); '
            'delete it to make it anew, or give another --output')


def keep_description(path: Path, description: dict[str, Any], result: Path) -> None:
    """
    Write the description of a result before it is made, or check it against the kept one.

    Raises `UserError` for a result that has none, or one of other settings.
    """
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise UserError(f'{path}: not readable: {error}; delete {path.parent}') from None
        check_description(kept, description, result)
        return
    if result.exists():
        raise UserError(f'{result}: nothing says how it was made ({path.name} is missing); '
                        'delete it, or give another --output')
    path.parent.mkdir(parents=True, exist_ok=True)
    # The other processes of a run write the same at the same time.
    own = path.with_suffix(f'.{os.getpid()}.tmp')
    own.write_text(json.dumps(description, indent=2, default=str), encoding='utf-8')
    own.replace(path)


def _differences(kept: Any, present: Any, name: str = '') -> Iterator[str]:
    if isinstance(kept, dict) and isinstance(present, dict):
        for key in [*kept, *(key for key in present if key not in kept)]:
            yield from _differences(kept.get(key), present.get(key), f'{name}.{key}'.strip('.'))
    elif kept != present:
        yield f'{name}: {_short(kept)} then, {_short(present)} now'


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f'{text[:57]}...'
