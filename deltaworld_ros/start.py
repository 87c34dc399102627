# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the command `deltaworld` so that an interrupt at any time ends it in one line."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

# What shells expect of a program that a signal ended.
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
_received: list[int] = []


def main() -> None:
    """Load and run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_loading)
    # Takes half a second.
    from deltaworld_ros.cli import main as run
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        run()
    finally:
        # Whatever the command made of it, in one line and with one exit code.
        if _received:
            print('deltaworld: interrupted', file=sys.stderr)
            sys.exit(_INTERRUPTED if _received[0] == signal.SIGINT else _TERMINATED)


def _end_loading(number: int, frame: FrameType | None) -> None:
    print('deltaworld: interrupted while it loaded', file=sys.stderr, flush=True)
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    # Unwinds, so that child processes and temporary folders are cleaned up.
    _received.append(number)
    raise SystemExit(_TERMINATED)


if __name__ == '__main__':
    main()
