# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep what TensorRT logs as errors, which is the only place where it gives its reasons."""

from __future__ import annotations

from typing import Any


class ErrorLog:
    """A logger for TensorRT; hold it for as long as anything that was made with it."""

    def __init__(self, library: Any) -> None:
        errors: list[str] = []

        class Logger(library.ILogger):
            def __init__(self) -> None:
                library.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR):
                    errors[:] = [message]
        self._errors = errors
        self.logger = Logger()

    def last(self) -> str:
        """Return the last error in one line."""
        return ' '.join(self._errors[-1].split())[:300] if self._errors else 'it gave no reason'
