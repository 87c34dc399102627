# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broken and missing files: each named once, all counted, none fatal."""

import logging

_LOG = logging.getLogger('deltaworld_training.data')
_SHOWN = 3


class Problems:
    """What was skipped, by file or folder, with the first reason of each and how often."""

    def __init__(self) -> None:
        """Start without any."""
        self.reasons: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of files and folders that were skipped at least once."""
        return len(self.reasons)

    def __contains__(self, name: str) -> bool:
        """Tell whether something of this name was skipped."""
        return name in self.reasons

    def add(self, name: str, error: Exception | str) -> None:
        """Count one more skip and log the first of each name."""
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
        return f'skipped {len(self)} ({sum(self.counts.values())} times): {names}{more}'
