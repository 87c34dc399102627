# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames in, forecasts out: the context, the samples and the maps of one camera."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS, FUTURE_MAPS
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine import Engine, Features, PaintingGraph
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.context import ContextChain, Link
from deltaworld_ros.forecast.finite import check_finite
from deltaworld_ros.forecast.frame_gate import FrameGate, Restart, Verdict
from deltaworld_ros.forecast.noise import sample_noise
from deltaworld_ros.forecast.relative_times import relative_times
from deltaworld_ros.forecast.selection import check_counts, select_futures, temper

_FUTURE_FEATURES = 'future_features'


@dataclass(frozen=True)
class Observed:
    """
    What became of a frame: the gate's verdict, and how many links the context has now.

    A frame that is `odd` was left out.
    """

    verdict: Verdict
    fill: int


@dataclass(frozen=True)
class Forecast:
    """
    Maps of one moment and of its futures.

    S+1 maps of (a, b) for the leads (seconds after `stamp`, 0 first): class ids, depth in metres
    for the bundle's focal length (see `depth_scale`), and the share of the weighted futures that
    agree with the fused class. `labels` and `depth` (K, S, a, b) are the futures by descending
    weight, `fused_features` (S, N, D) their weighted mean ahead, or None. `pictures` are RGB
    (h, w, 3) of the likeliest future, by lead, for those asked for. Stamps are in seconds, timings
    in milliseconds.
    """

    stamp: float
    leads: tuple[float, ...]
    weights: NDArray[np.float32]
    fused_labels: NDArray[np.uint8]
    fused_depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    labels: NDArray[np.uint8] | None
    depth: NDArray[np.float32] | None
    context_stamps: tuple[float, ...]
    timings: dict[str, float]
    fused_features: NDArray[np.float32] | None = None
    pictures: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)


class Forecaster:
    """
    One camera's rolling context and its forecasts; for use by one thread at a time.

    `num_samples` futures are drawn and `num_futures` of them decoded (the manifest's numbers by
    default; where both are equal, every sample is a future of equal weight, as in the paper).
    A gap of more than `max_gap` seconds restarts the context. `queries` replaces the manifest's:
    whether a sample keeps one noise query through its steps. `painter` makes pictures.
    """

    def __init__(self, engine: Engine, manifest: Manifest, *, num_samples: int | None = None,
                 num_futures: int | None = None, max_gap: float = 1.0, seed: int = 0,
                 queries: Literal['fresh', 'kept'] | None = None,
                 painter: PaintingGraph | None = None) -> None:
        self.num_samples = manifest.num_samples if num_samples is None else num_samples
        self.num_futures = manifest.num_futures if num_futures is None else num_futures
        check_counts(self.num_samples, self.num_futures)
        if not max_gap > 0:
            raise UserError(f'max_gap {max_gap}: must be greater than 0 s')
        self._engine = engine
        self._painter = painter
        self._manifest = manifest
        self._gate = FrameGate(max_gap)
        self._chain = ContextChain(manifest.stride, manifest.context_length)
        self.queries = queries or manifest.queries
        self._random = np.random.default_rng(seed)
        # The same queries for every frame: a future keeps its identity from one to the next.
        self._noise = self._draw_noise(self.num_samples)
        self._observe_ms = 0.0

    def observe(self, image: NDArray[np.uint8], stamp: float | int,
                source: Hashable = None) -> Observed:
        """
        Judge the next frame (h, w, 3) uint8 RGB at the graph's input size, and take it in.

        `stamp` is in seconds, or in nanoseconds where it is an integer. `source` names what must
        not change within a context (image size, encoding, frame_id).
        """
        stamp_ns = _nanoseconds(stamp)
        verdict = self._gate.check(stamp_ns, source)
        self.begin(verdict)
        fill = len(self._chain.context()) if verdict.odd else self.take_in(image, stamp_ns)
        return Observed(verdict, fill)

    def begin(self, verdict: Verdict) -> None:
        """Prepare the context for the frame that a gate judged so."""
        if verdict.restart:
            self._chain.begin(verdict.restart)
        elif verdict.resumed:
            self._chain.resume()

    def take_in(self, image: NDArray[np.uint8], stamp_ns: int) -> int:
        """
        Join a frame, as in `observe`, that a gate has let pass; return the context's links.

        This is for callers that judge frames before they are decoded. Raise `NotFiniteError` where
        the engine gives values that are not finite; the context goes on without the frame.
        """
        m = self._manifest
        if image.shape != (m.image_height, m.image_width, 3) or image.dtype != np.uint8:
            raise UserError(f'image of shape {image.shape} and type {image.dtype}: must be '
                            f'({m.image_height}, {m.image_width}, 3) uint8')
        started = time.perf_counter()
        predecessor = self._chain.predecessor(stamp_ns)
        features, delta, anchor = self._engine.observe(
            image, None if predecessor is None else predecessor.features)
        check_finite('features', self._engine.features_to_host(features))
        check_finite('an anchor token', anchor)
        check_finite('a delta token', delta)
        self._chain.append(stamp_ns, features, anchor, delta, predecessor)
        self._observe_ms = _milliseconds_since(started)
        return len(self._chain.context())

    def needed(self, waiting_ns: Sequence[int]) -> list[int]:
        """Return those of the waiting stamps (ns) to take in for a forecast from the last one."""
        return self._chain.needed(waiting_ns)

    @property
    def ready(self) -> bool:
        """Say whether the newest frame has a whole context, so that `forecast` works."""
        return len(self._chain.context()) == self._manifest.context_length

    @property
    def features(self) -> Features:
        """Return the newest frame's features as the engine keeps them."""
        return self._newest().features

    @property
    def host_features(self) -> NDArray[np.float32]:
        """Copy the newest frame's features (N, D) from where the engine keeps them."""
        return self._engine.features_to_host(self.features)

    def forecast(self, *, futures: bool = True, features: bool = False,
                 leads: Sequence[int] | None = None, pictures: Sequence[int] = (),
                 motion: NDArray[np.float32] | None = None) -> Forecast:
        """
        Forecast from the newest frame; `futures` asks for each future's maps too.

        `features` asks for the fused features, which takes all leads. Only the maps of `leads`
        (places in `Forecast.leads`) are sure to hold values; all by default. `pictures` are the
        leads to paint, which a forecaster with a painter can. Bundles that take it may be told the
        robot's `motion` (T + S, 3) at `context_stamps_ns` and the leads (see `bundle.motion`).
        """
        tokens, weights, timings = self.sample_futures(motion=motion)
        started = time.perf_counter()
        outputs = FUSED_MAPS + FUTURE_MAPS if futures else FUSED_MAPS
        if features:
            outputs, leads = (*outputs, _FUTURE_FEATURES), None
        maps = self._engine.decode(self.features, tokens, weights, outputs, leads)
        _check_maps(maps, range(len(maps['fused_depth'])) if leads is None else leads)
        if features:
            check_finite('features of the futures', maps[_FUTURE_FEATURES])
            maps['fused_features'] = np.tensordot(weights, maps[_FUTURE_FEATURES], 1)
        timings['decode'] = _milliseconds_since(started)
        painted = self._paint(tokens[:1], pictures, timings) if pictures else {}
        return self._result(maps, (0.0, *self._manifest.leads), weights, timings, painted)

    def present(self) -> Forecast:
        """Return the maps of the newest frame alone, which need no context."""
        m = self._manifest
        weights = np.ones(1, np.float32)
        started = time.perf_counter()
        maps = self._engine.decode(
            self.features, np.zeros((1, m.steps, m.token_size), np.float32), weights, FUSED_MAPS,
            (0,))
        _check_maps(maps, (0,))
        timings = {'observe': self._observe_ms, 'rollout': 0.0, 'select': 0.0,
                   'decode': _milliseconds_since(started)}
        return self._result(
            {name: maps[name][:1] for name in FUSED_MAPS}, (0.0,), weights, timings)

    def _paint(self, token: NDArray[np.float32], leads: Sequence[int],
               timings: dict[str, float]) -> dict[int, NDArray[np.uint8]]:
        """Paint leads (1 is the first ahead) of one future, whose tokens are (1, S, Dz)."""
        if self._painter is None:
            raise UserError(f'bundle {self._manifest.name!r}: has no painter (paint.onnx)')
        started = time.perf_counter()
        future = self._engine.decode(
            self.features, token, np.ones(1, np.float32), (_FUTURE_FEATURES,))
        chosen = future[_FUTURE_FEATURES][0, [lead - 1 for lead in leads]]
        check_finite('features of the likeliest future', chosen)
        painted = dict(zip(leads, self._painter.paint(chosen), strict=True))
        timings['paint'] = _milliseconds_since(started)
        return painted

    def sample_futures(
            self, num_samples: int | None = None, num_futures: int | None = None,
            motion: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, float]]:
        """
        Draw futures from the newest frame and choose some, before any decoding.

        Other numbers than the forecaster's own serve evaluation (equal ones: plain sampling) and
        draw fresh noise. For `motion` see `forecast`.

        Return tokens (K, S, Dz), weights (K,) by descending weight, and the timings so far.
        """
        m = self._manifest
        started = time.perf_counter()
        tokens, past = self.context_tokens()
        tables = time_tables(np.concatenate([past, m.leads]), m.rotary_frequencies)
        noise = self._noise if num_samples is None else self._draw_noise(num_samples)
        rolling = time.perf_counter()
        sampled = self._engine.rollout(tokens, *tables, noise, motion)
        check_finite('future tokens', sampled)
        rolled = time.perf_counter()
        chosen, weights = select_futures(
            sampled, num_futures or self.num_futures, m.selection_dimensions,
            averaged=m.fused == 'tokens')
        weights = temper(weights, m.weight_temperature)
        select_ms = 1e3 * (rolling - started) + _milliseconds_since(rolled)
        timings = {'observe': self._observe_ms, 'rollout': 1e3 * (rolled - rolling),
                   'select': select_ms}
        return chosen, weights, timings

    def context_tokens(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return the tokens (T, Dz) of the whole context and their times (T,), 0 s the newest."""
        context = self._chain.context()
        if len(context) < self._manifest.context_length:
            raise RuntimeError(f'the context has {len(context)} of '
                               f'{self._manifest.context_length} links')
        tokens = np.stack([context[0].anchor_token, *(link.delta_token for link in context[1:])])
        return tokens, relative_times([link.stamp_ns for link in context], ())

    @property
    def context_stamps_ns(self) -> tuple[int, ...]:
        """Return the stamps (ns) of the context's frames, the oldest first."""
        return tuple(link.stamp_ns for link in self._chain.context())

    def reset(self, reason: Restart) -> None:
        """Forget every frame; the next one that is observed reports the reason."""
        self._chain.begin(reason)
        self._gate.reset(reason)

    def _draw_noise(self, num_samples: int) -> NDArray[np.float32]:
        return sample_noise(self._manifest, self.queries, num_samples, self._random)

    def _newest(self) -> Link:
        newest = self._chain.newest
        if newest is None:
            raise RuntimeError('no frame was observed yet')
        return newest

    def _result(self, maps: dict[str, NDArray[Any]], leads: tuple[float, ...],
                weights: NDArray[np.float32], timings: dict[str, float],
                pictures: Mapping[int, NDArray[np.uint8]] | None = None) -> Forecast:
        stamps = tuple(link.stamp_ns * 1e-9 for link in self._chain.context())
        return Forecast(
            stamp=stamps[-1], leads=leads, weights=weights, fused_labels=maps['fused_labels'],
            fused_depth=maps['fused_depth'], confidence=maps['confidence'],
            labels=maps.get('labels'), depth=maps.get('depth'), context_stamps=stamps,
            timings=timings, fused_features=maps.get('fused_features'), pictures=pictures or {})


def _nanoseconds(stamp: float | int) -> int:
    if isinstance(stamp, (int, np.integer)):
        return int(stamp)
    if not math.isfinite(stamp):
        raise UserError(f'stamp {stamp}: must be a finite number of seconds')
    return round(stamp * 1e9)


def _check_maps(maps: dict[str, NDArray[Any]], leads: Sequence[int]) -> None:
    """Raise `NotFiniteError` where a map of these leads holds values that are not finite."""
    for lead in leads:
        check_finite('fused depth', maps['fused_depth'][lead])
        check_finite('confidence', maps['confidence'][lead])
        if lead > 0 and 'depth' in maps:
            check_finite('depth of the futures', maps['depth'][:, lead - 1])


def _milliseconds_since(started: float) -> float:
    return 1e3 * (time.perf_counter() - started)
