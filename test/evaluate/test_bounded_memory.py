# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A long recording is scored in the memory of a short one, but for its scores."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
from support.bags import write_drive
from support.tiny_bundle import fading_frames

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.evaluate.drive import Options
from deltaworld_ros.evaluate.evaluator import Evaluator

FRAMES, EVERY = 360, 4
FIRST, LAST = 120, 350
# 30 minutes at 10 Hz may take this much more than the model.
MAX_BYTES = 1.5e9


def test_memory_does_not_grow_with_the_recording(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    # Each picture has 6 kB here: one that were kept for each frame would show.
    frames = np.concatenate([fading_frames(bundle.manifest, 12)] * (FRAMES // 12))
    bag = write_drive(tmp_path / 'bag', frames)
    evaluator = Evaluator(load_engine(bundle, 'onnxruntime', threads=1), bundle,
                          Options(num_samples=4, num_futures=2, every=EVERY), moments=4)
    seen: list[int] = []

    def advance() -> None:
        seen.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        with BagFrames(bag) as images:
            scores = evaluator.run(images, advance)
    finally:
        tracemalloc.stop()
    assert scores.scored > (FRAMES - 50) / EVERY and len(seen) == FRAMES
    # Medians, for what waits for its future comes and goes.
    growth = np.median(seen[LAST - 20:LAST]) - np.median(seen[FIRST:FIRST + 20])
    of_each_forecast = growth / ((LAST - FIRST - 20) / EVERY)
    # The scores of each forecast are kept, no picture and no features.
    assert of_each_forecast < 20_000
    assert of_each_forecast * 30 * 60 * 10 < MAX_BYTES / 4
