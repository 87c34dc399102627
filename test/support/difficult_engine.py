# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the forecast node with an engine that is slow, and that fails on white frames.

The environment variable `ROLLOUT_SECONDS` says how long each rollout takes at least. With
`NOT_FINITE` (features, delta, rollout or decode), that stage gives NaN for white frames instead.
With `HANG_ON_WHITE` the engine never comes back from them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import numpy as np

from deltaworld_ros.engine import load_engine
from deltaworld_ros.node import forecast_node


class DifficultEngine:
    """A real engine behind the delay and the failure."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.name = f'difficult {engine.name}'
        self._white = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def observe(self, image: Any, previous: Any) -> Any:
        self._white = image.min() == 255
        if self._white and 'HANG_ON_WHITE' in os.environ:
            threading.Event().wait()
        if self._white and 'NOT_FINITE' not in os.environ:
            raise RuntimeError('the device\nis on fire')
        features, delta, anchor = self._engine.observe(image, previous)
        if self._wrong('features'):
            features = self._engine.features_from_host(
                np.full_like(self._engine.features_to_host(features), np.nan))
        if self._wrong('delta'):
            delta = np.full_like(delta, np.inf)
        return features, delta, anchor

    def rollout(self, *arguments: Any) -> Any:
        time.sleep(float(os.environ.get('ROLLOUT_SECONDS', '0')))
        future = self._engine.rollout(*arguments)
        return np.full_like(future, np.nan) if self._wrong('rollout') else future

    def decode(self, *arguments: Any) -> Any:
        maps = self._engine.decode(*arguments)
        if self._wrong('decode'):
            maps = {name: np.full_like(one, np.nan) if one.dtype == np.float32
                    else np.zeros_like(one) for name, one in maps.items()}
        return maps

    def _wrong(self, stage: str) -> bool:
        return self._white and os.environ.get('NOT_FINITE') == stage


forecast_node.load_engine = lambda *arguments, **options: DifficultEngine(
    load_engine(*arguments, **options))
sys.exit(forecast_node.main())
