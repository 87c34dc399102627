# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the forecast node so that an interrupt while its modules load ends it in one line."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main() -> int:
    """Load and run the forecast node."""
    end_when_interrupted('forecast_node')
    # Takes half a second.
    from deltaworld_ros.node.forecast_node import main as run

    return run()


def end_when_interrupted(name: str) -> None:
    """Let SIGINT and SIGTERM end this process in one line, until other handlers are set."""
    def end(number: int, frame: Any) -> None:
        print(f'{name}: interrupted while it loaded', file=sys.stderr, flush=True)
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


if __name__ == '__main__':
    sys.exit(main())
