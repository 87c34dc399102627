# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How fast a bundle forecasts on this machine, stage by stage."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.arrays import read_arrays
from deltaworld_ros.engine import Engine
from deltaworld_ros.forecast.forecaster import Forecaster

STAGES = ('observe', 'rollout', 'select', 'decode', 'total')
_WARM_UP = 3


def benchmark(engine: Engine, bundle: Bundle, *, num_samples: int | None = None,
              num_futures: int | None = None, repetitions: int = 50,
              advance: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """
    Forecast again and again from the bundle's golden frames and return medians in milliseconds.

    Each forecast takes in a new frame and decodes every future, as the node does when all its
    topics have subscribers. `total` is the wall time of one such forecast, measured around both.
    """
    manifest = bundle.manifest
    frames = read_arrays(bundle.read('golden.npz'), 'golden.npz', ['frames'])['frames']
    forecaster = Forecaster(engine, manifest, num_samples=num_samples, num_futures=num_futures)
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for index in range(manifest.context_length - 1 + _WARM_UP + repetitions):
        started = time.perf_counter()
        forecaster.observe(frames[index % len(frames)], index * manifest.stride)
        if not forecaster.ready:
            continue
        timings = forecaster.forecast().timings
        total = 1e3 * (time.perf_counter() - started)
        if index >= manifest.context_length - 1 + _WARM_UP:
            for stage in STAGES[:-1]:
                times[stage].append(timings[stage])
            times['total'].append(total)
            advance()
    medians = {stage: float(np.median(values)) for stage, values in times.items()}
    return {
        'bundle': manifest.name,
        'engine': engine.name,
        'machine': {'processor': _processor(), 'cores': os.cpu_count()},
        'num_samples': forecaster.num_samples,
        'num_futures': forecaster.num_futures,
        'leads': list(manifest.leads),
        'repetitions': repetitions,
        'median_ms': medians,
        'forecasts_per_second': 1e3 / medians['total'],
    }


def _processor() -> str:
    """Name the processor as far as the system tells."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as lines:
            for line in lines:
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
