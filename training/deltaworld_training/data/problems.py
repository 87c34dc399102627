# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broken and missing files: each named once, all counted, none fatal."""

import logging
from pathlib import Path

from deltaworld_ros.errors import UserError

_LOG = logging.getLogger('deltaworld_training.data')
_SHOWN = 3


class BrokenFile(UserError):
    """A file of a recording that is missing, damaged or not what it should be."""

    def __init__(self, path: str | Path, reason: Exception | str):
        """Name the file and say in one line what is wrong."""
        text = ' '.join(str(reason).split()) or type(reason).__name__
        super().__init__(text if text.startswith(str(path)) else f'{path}: {text}')
        self.path = str(path)

    def __reduce__(self) -> tuple:
        """Survive the way out of a worker process."""
        return BrokenFile, (self.path, str(self))


class Problems:
    """What was skipped, by file, with the first reason of each and how often."""

    def __init__(self) -> None:
        """Start without any."""
        self.reasons: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of files that were skipped at least once."""
        return len(self.reasons)

    def add(self, recording: str, error: Exception | str) -> None:
        """Count one more skip of a recording's file, or of all of it, and log the first."""
        name = error.path if isinstance(error, BrokenFile) else recording
        self.counts[name] = self.counts.get(name, 0) + 1
        if name in self.reasons:
            return
        reason = ' '.join(str(error).split()) or type(error).__name__
        self.reasons[name] = reason
        _LOG.warning('skipped %s', reason if name in reason else f'{name}: {reason}')

    def summary(self) -> str:
        """Say in one line how much was skipped; empty where nothing was."""
        if not self.reasons:
            return ''
        names = ', '.join(list(self.reasons)[:_SHOWN])
        more = f' and {len(self) - _SHOWN} more' if len(self) > _SHOWN else ''
        return f'skipped {len(self)} files ({sum(self.counts.values())} times): {names}{more}'
