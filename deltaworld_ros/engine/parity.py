# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The gate before an engine is used: it must reproduce the bundle's golden outputs.

Half-precision engines can be wrong without any error, so each engine runs the recorded frames
once and is compared number by number (limits of the design, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.rotary import time_tables
from deltaworld_ros.engine.interface import Engine, EngineUnavailable

LEAST_COSINE = 0.999
# A cosine is blind to scale, and a scaled token is a wrong token.
LARGEST_NORM_ERROR = 0.02
LEAST_EQUAL_LABELS = 0.99
LARGEST_DEPTH_ERROR = 0.01
LARGEST_CONFIDENCE_ERROR = 0.02

_OUTPUTS = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence')


@dataclass(frozen=True)
class ParityReport:
    """The worst figure of each comparison, and what is wrong (empty: the engine may be used)."""

    figures: dict[str, float]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Say whether the engine may be used."""
        return not self.problems

    def __str__(self) -> str:
        """Give one line: what is wrong, or the figures."""
        if self.problems:
            return 'differs from golden.npz: ' + '; '.join(self.problems)
        return ', '.join(f'{name} {value:.5g}' for name, value in self.figures.items())


def check_parity(engine: Engine, bundle: Bundle) -> ParityReport:
    """
    Run the golden frames through `engine` and compare features, tokens and maps.

    Raise `EngineUnavailable` where golden.npz lacks arrays; the engine's own errors pass through.
    """
    golden = _read_golden(bundle)
    manifest = bundle.manifest
    figures: dict[str, float] = {}
    problems: list[str] = []

    def check(name: str, value: float, limit: float, at_least: bool) -> None:
        figures[name] = value
        # Written so that NaN is a problem.
        if not (value >= limit if at_least else value <= limit):
            side = 'at least' if at_least else 'at most'
            problems.append(f'{name} is {value:.4g}, must be {side} {limit:g}')

    def check_vectors(name: str, actual: NDArray[np.float32], key: str) -> None:
        wanted = golden[key].reshape(actual.shape).astype(np.float64)
        actual = actual.astype(np.float64)
        lengths = np.linalg.norm(actual, axis=-1), np.linalg.norm(wanted, axis=-1)
        product = np.maximum(lengths[0] * lengths[1], 1e-30)
        cosine = (actual * wanted).sum(-1) / product
        error = np.abs(lengths[0] / np.maximum(lengths[1], 1e-30) - 1)
        # A vector of zeros has no direction; both zero is equal.
        same = (lengths[0] == 0) & (lengths[1] == 0)
        check(f'{name} cosine', float(np.where(same, 1, cosine).min()), LEAST_COSINE, True)
        check(f'{name} norm error', float(np.where(same, 0, error).max()),
              LARGEST_NORM_ERROR, False)

    features = None
    frames, deltas, anchors = [], [], []
    for frame in golden['frames']:
        features, delta, anchor = engine.observe(frame, features)
        frames.append(engine.features_to_host(features).ravel())
        deltas.append(delta)
        anchors.append(anchor)
    check_vectors('features', np.stack(frames), 'features')
    check_vectors('delta token', np.stack(deltas), 'delta_tokens')
    check_vectors('anchor token', np.stack(anchors), 'anchor_tokens')

    ahead = np.concatenate([golden['stamps'] - golden['stamps'][-1], manifest.leads])
    tables = time_tables(ahead, manifest.rotary_frequencies)
    future_tokens = engine.rollout(golden['tokens'][0], *tables, golden['noise'][0])
    check_vectors('future token', future_tokens, 'future_tokens')

    weights = golden['weights'][0]
    maps = engine.decode(
        features, golden['future_tokens'][0, :len(weights)], weights, _OUTPUTS)
    for name in ('labels', 'fused_labels'):
        equal = float((maps[name] == golden[name][0]).mean())
        check(f'equal {name}', equal, LEAST_EQUAL_LABELS, True)
    for name in ('depth', 'fused_depth'):
        error = np.abs(maps[name] / golden[name][0].astype(np.float64) - 1)
        check(f'{name} error', float(np.median(error)), LARGEST_DEPTH_ERROR, False)
    difference = np.abs(maps['confidence'] - golden['confidence'][0]).mean()
    check('confidence error', float(difference), LARGEST_CONFIDENCE_ERROR, False)
    return ParityReport(figures, tuple(problems))


def _read_golden(bundle: Bundle) -> dict[str, NDArray[Any]]:
    names = ('frames', 'stamps', 'noise', 'features', 'delta_tokens', 'anchor_tokens', 'tokens',
             'future_tokens', 'weights', *_OUTPUTS)
    with np.load(bundle.file('golden.npz'), allow_pickle=False) as archive:
        missing = [name for name in names if name not in archive]
        if missing:
            raise EngineUnavailable(f'golden.npz lacks {", ".join(missing)}')
        return {name: archive[name] for name in names}
