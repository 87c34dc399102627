# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Offline evaluations of small recordings with the tiny bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine import Engine
from deltaworld_ros.evaluate.drive import Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from support.tiny_bundle import fading_frames


def evaluate(engine: Engine, bundle: Bundle, *paths: Path, **options) -> dict:
    """Return the pooled result of recordings; `options` are those of `Options`."""
    evaluator = Evaluator(engine, bundle, Options(**options))
    for path in paths:
        with BagFrames(path) as bag:
            evaluator.run(bag)
    return evaluator.result()


def drive(bundle: Bundle, count: int = 20) -> np.ndarray:
    """Return frames that grow brighter for a while, at the bundle's size."""
    return fading_frames(bundle.manifest, count)
