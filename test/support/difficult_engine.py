# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the forecast node with an engine that is slow, and that fails on white frames.

The environment variable `ROLLOUT_SECONDS` says how long each rollout takes at least.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from deltaworld_ros.engine import load_engine
from deltaworld_ros.node import forecast_node


class DifficultEngine:
    """A real engine behind the delay and the failure."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.name = f'difficult {engine.name}'

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def observe(self, image: Any, previous: Any) -> Any:
        if image.min() == 255:
            raise RuntimeError('the device\nis on fire')
        return self._engine.observe(image, previous)

    def rollout(self, *arguments: Any) -> Any:
        time.sleep(float(os.environ['ROLLOUT_SECONDS']))
        return self._engine.rollout(*arguments)


forecast_node.load_engine = lambda *arguments, **options: DifficultEngine(
    load_engine(*arguments, **options))
sys.exit(forecast_node.main())
