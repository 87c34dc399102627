# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the recorder so that an interrupt while its modules load ends it in one line."""

from __future__ import annotations

import sys

from deltaworld_ros.node.start import end_when_interrupted


def main() -> int:
    """Load and run the recorder."""
    end_when_interrupted('recorder')
    # Takes a second.
    from deltaworld_ros.node.recorder_node import main as run

    return run()


if __name__ == '__main__':
    sys.exit(main())
