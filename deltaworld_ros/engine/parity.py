# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The gate before an engine is used: it must reproduce the bundle's golden outputs.

Half-precision engines can be wrong without any error, so each engine runs the recorded frames
once, through every graph and with the sizes that will run later, and is compared number by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.arrays import read_arrays
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS, FUTURE_MAPS
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.bundle.motion import VALUES
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine.interface import Engine, EngineUnavailable, Features, LeadDecoding
from deltaworld_ros.errors import UserError

MIN_COSINE = 0.999
# A cosine is blind to scale, and a scaled token is a wrong token.
MAX_NORM_ERROR = 0.02
MIN_EQUAL_LABELS = 0.99
MAX_DEPTH_ERROR = 0.01
MAX_CONFIDENCE_ERROR = 0.02
# A median or mean hides pixels that are far off: so many must be near.
MIN_NEAR = 0.99
NEAR_DEPTH_ERROR = 0.05
NEAR_CONFIDENCE_ERROR = 0.1

_MAPS = FUTURE_MAPS + FUSED_MAPS


@dataclass(frozen=True)
class ParityReport:
    """The worst figure of each comparison, and what is wrong (empty: the engine may be used)."""

    figures: dict[str, float]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Return whether the engine may be used."""
        return not self.problems

    def __str__(self) -> str:
        """Return one line: what is wrong, or the figures."""
        if self.problems:
            return 'differs from golden.npz: ' + '; '.join(self.problems)
        return ', '.join(f'{name} {value:.5g}' for name, value in self.figures.items())


def check_parity(
        engine: Engine, bundle: Bundle, *, num_samples: int | None = None,
        num_futures: int | None = None, leads: Sequence[LeadDecoding] = ()) -> ParityReport:
    """
    Run the golden frames through `engine` and compare features, tokens and maps.

    `num_samples` and `num_futures` are those that will run (golden.npz's own by default), `leads`
    what the engine decodes by graphs of single leads. Raise `EngineUnavailable` where golden.npz
    cannot be used; the engine's own errors pass through.
    """
    golden = _read_golden(bundle)
    judge = _Judge()
    features = _check_observe(engine, golden, judge)
    _check_rollout(engine, bundle.manifest, golden, judge, num_samples)
    _check_decode(engine, bundle.manifest, golden, judge, features, num_futures, leads)
    return ParityReport(judge.figures, tuple(judge.problems))


class _Judge:
    """Collects the worst figure of each comparison and what is out of its limit."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.problems: list[str] = []

    def at_least(self, name: str, value: float, limit: float, where: str = '') -> None:
        self.figures[name] = min(value, self.figures.get(name, value))
        if not value >= limit:   # so that NaN is a problem
            self.problems.append(f'{name}{where} is {value:.4g}, must be at least {limit:g}')

    def at_most(self, name: str, value: float, limit: float, where: str = '') -> None:
        self.figures[name] = max(value, self.figures.get(name, value))
        if not value <= limit:
            self.problems.append(f'{name}{where} is {value:.4g}, must be at most {limit:g}')

    def vectors(self, name: str, actual: NDArray[Any], wanted: NDArray[Any]) -> None:
        """Compare directions and lengths of vectors (..., D)."""
        actual, wanted = actual.astype(np.float64), wanted.astype(np.float64)
        lengths = np.linalg.norm(actual, axis=-1), np.linalg.norm(wanted, axis=-1)
        product = np.maximum(lengths[0] * lengths[1], 1e-30)
        cosine = (actual * wanted).sum(-1) / product
        error = np.abs(lengths[0] / np.maximum(lengths[1], 1e-30) - 1)
        # A vector of zeros has no direction; both zero is equal.
        same = (lengths[0] == 0) & (lengths[1] == 0)
        self.at_least(f'{name} cosine', float(np.where(same, 1, cosine).min()), MIN_COSINE)
        self.at_most(f'{name} norm error', float(np.where(same, 0, error).max()), MAX_NORM_ERROR)

    def maps(self, name: str, actual: NDArray[Any], wanted: NDArray[Any], where: str) -> None:
        """Compare maps of the kind that `name` tells."""
        if actual.shape != wanted.shape:
            self.problems.append(f'{name}{where} has the shape {actual.shape}, must have '
                                 f'{wanted.shape}')
        elif name.endswith('labels'):
            self.at_least(f'equal {name}', float((actual == wanted).mean()), MIN_EQUAL_LABELS,
                          where)
        elif name.endswith('depth'):
            error = np.abs(actual / wanted.astype(np.float64) - 1)
            self.at_most(f'{name} error', float(np.median(error)), MAX_DEPTH_ERROR, where)
            self.at_least(f'near {name}', float((error <= NEAR_DEPTH_ERROR).mean()), MIN_NEAR,
                          where)
        else:
            error = np.abs(actual - wanted.astype(np.float64))
            self.at_most(f'{name} error', float(error.mean()), MAX_CONFIDENCE_ERROR, where)
            self.at_least(f'near {name}', float((error <= NEAR_CONFIDENCE_ERROR).mean()),
                          MIN_NEAR, where)


def _check_observe(
        engine: Engine, golden: dict[str, NDArray[Any]], judge: _Judge) -> Features:
    """Return the features of the newest frame."""
    features = None
    frames, deltas, anchors = [], [], []
    for frame in golden['frames']:
        features, delta, anchor = engine.observe(frame, features)
        frames.append(engine.features_to_host(features).ravel())
        deltas.append(delta)
        anchors.append(anchor)
    judge.vectors('features', np.stack(frames), golden['features'].reshape(len(frames), -1))
    judge.vectors('delta token', np.stack(deltas), golden['delta_tokens'])
    judge.vectors('anchor token', np.stack(anchors), golden['anchor_tokens'])
    return features


def _check_rollout(
        engine: Engine, manifest: Manifest, golden: dict[str, NDArray[Any]], judge: _Judge,
        num_samples: int | None) -> None:
    # A sample depends on no other: as many as will run are the golden ones again and again.
    stored = len(golden['noise'][0])
    chosen = np.arange(num_samples or stored) % stored
    ahead = np.concatenate([golden['stamps'] - golden['stamps'][-1], manifest.leads])
    tables = time_tables(ahead, manifest.rotary_frequencies)
    motion = golden['motion'][0] if manifest.motion else None
    tokens = engine.rollout(golden['tokens'][0], *tables, golden['noise'][0][chosen], motion)
    judge.vectors('future token', tokens, golden['future_tokens'][0][chosen])


def _check_decode(
        engine: Engine, manifest: Manifest, golden: dict[str, NDArray[Any]], judge: _Judge,
        features: Features, num_futures: int | None, leads: Sequence[LeadDecoding]) -> None:
    tokens, weights, wanted = _futures(golden, num_futures)
    maps = engine.decode(features, tokens, weights, tuple(wanted))
    for name, values in wanted.items():
        judge.maps(name, maps[name], values, '')
    for decoding in leads:
        lead, names = decoding.lead, [name for name in decoding.outputs if name in wanted]
        if lead == 0:
            continue
        maps = engine.decode(features, tokens, weights, names, (lead,))
        for name in names:
            place = (slice(None), lead - 1) if name in FUTURE_MAPS else lead
            judge.maps(name, maps[name][place], wanted[name][place], f' of lead {lead} alone')
    if leads or num_futures is not None:
        # The present alone, as it is decoded while the context is short.
        none = np.zeros((1, *tokens.shape[1:]), np.float32)
        names = [name for name in FUSED_MAPS if name in wanted]
        maps = engine.decode(features, none, np.ones(1, np.float32), names, (0,))
        for name in names:
            judge.maps(name, maps[name][0], wanted[name][0], ' of the present alone')


def _futures(golden: dict[str, NDArray[Any]], num_futures: int | None,
             ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
    """
    Return tokens and weights of as many futures as will run, and the maps that must come of them.

    More than the golden ones are those again and again, which share their weights. Of fewer, the
    first has all the weight: the fused maps are its own, and the confidence is not known.
    """
    weights = golden['weights'][0]
    stored = len(weights)
    count = num_futures or stored
    chosen = np.arange(count) % stored
    wanted = {name: golden[name][0] for name in _MAPS}
    wanted |= {name: wanted[name][chosen] for name in FUTURE_MAPS}
    if count >= stored:
        weights = weights[chosen] / np.bincount(chosen)[chosen]
    else:
        weights = np.eye(1, count)[0]
        del wanted['confidence']
        for name in FUTURE_MAPS:
            wanted[f'fused_{name}'] = np.concatenate(
                [wanted[f'fused_{name}'][:1], wanted[name][0]])
    return golden['future_tokens'][0][chosen], weights.astype(np.float32), wanted


def _read_golden(bundle: Bundle) -> dict[str, NDArray[Any]]:
    names = ('frames', 'stamps', 'noise', 'features', 'delta_tokens', 'anchor_tokens', 'tokens',
             'future_tokens', 'weights', *_MAPS, *(['motion'] if bundle.manifest.motion else []))
    try:
        golden = read_arrays(bundle.read('golden.npz'), 'golden.npz', names)
    except UserError as error:
        raise EngineUnavailable(str(error)) from None
    m = bundle.manifest
    frames, samples, futures = (
        golden[name].shape[axis] if golden[name].ndim > axis else 0
        for name, axis in (('frames', 0), ('noise', 1), ('weights', 1)))
    maps = (m.map_height, m.map_width)
    shapes = {
        'frames': (frames, m.image_height, m.image_width, 3), 'stamps': (frames,),
        'noise': (1, samples, m.steps, m.noise_size),
        'features': (frames, m.num_patches, m.feature_size),
        'delta_tokens': (frames, m.token_size), 'anchor_tokens': (frames, m.token_size),
        'tokens': (1, frames, m.token_size), 'future_tokens': (1, samples, m.steps, m.token_size),
        'weights': (1, futures),
        **({'motion': (1, frames + m.steps, VALUES)} if m.motion else {}),
        **dict.fromkeys(FUTURE_MAPS, (1, futures, m.steps, *maps)),
        **dict.fromkeys(FUSED_MAPS, (1, m.steps + 1, *maps))}
    for name, shape in shapes.items():
        if golden[name].shape != shape:
            raise EngineUnavailable(
                f'golden.npz: {name} has the shape {golden[name].shape}, must have {shape}')
    if frames != m.context_length or not 1 <= futures <= samples:
        raise EngineUnavailable(
            f'golden.npz: has {frames} frames, {samples} samples and {futures} futures; must have '
            f'{m.context_length} frames and at least one future, at most one a sample')
    return golden
