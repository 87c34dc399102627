# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Feed every image of a bag to the forecaster and score each forecast against what then came."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from deltaworld_ros.bags.frames import BagFrames, Frame
from deltaworld_ros.bundle import Bundle
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_ros.engine import Engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.baselines import load_baselines
from deltaworld_ros.evaluate.candidates import (
    PLAIN_SAMPLES,
    Candidate,
    CandidateMaker,
    Sampled,
)
from deltaworld_ros.evaluate.matching import FutureMatcher, Matched
from deltaworld_ros.evaluate.metrics import UNLABELLED, smooth_l1
from deltaworld_ros.evaluate.moments import Moment, MomentKeeper
from deltaworld_ros.evaluate.scores import LeadScore, WeightScore, percentiles, strict_json
from deltaworld_ros.forecast.forecaster import Forecaster


@dataclass
class Seen:
    """
    A frame that has come: image (h,w,3), features (N,D), the bag's truth maps (a,b) or None.

    `scale` turns the heads' depth into metres of this camera; `heads` is filled when needed.
    """

    scale: float
    image: np.ndarray
    features: np.ndarray
    labels: np.ndarray | None
    depth: np.ndarray | None
    heads: Candidate | None = None


@dataclass(frozen=True)
class _Made:
    """A forecast that waits for its truth, and the frame that it was made from."""

    sampled: Sampled
    now: Seen


class Evaluator:
    """
    Scores forecasts frame-exactly and offline (design, section 9).

    The truth of a forecast is the frame nearest to stamp + lead, at most half a frame interval
    off; a forecast that lacks it at any lead is not scored. `every` forecasts from each n-th frame
    only, `max_forecasts` ends after that many, `moments` of them are kept as pictures, and
    `queries` replaces the bundle's way of sampling. `settle` leaves out the first seconds of each
    context, so that bundles with contexts of other lengths are compared on the same moments. Of
    each bag, images from `start` to `end` are read, in seconds after its first one.
    """

    def __init__(self, engine: Engine, bundle: Bundle, *, num_samples: int | None = None,
                 num_futures: int | None = None, seed: int = 0, every: int = 1,
                 max_forecasts: int | None = None, moments: int = 0,
                 queries: Literal['fresh', 'kept'] | None = None,
                 start: float = 0.0, end: float = math.inf, settle: float = 0.0) -> None:
        if not start < end:
            raise UserError(f'start {start:g} s, end {end:g} s: the start must be before the end')
        self._start_ns, self._end_ns = start * 1e9, end * 1e9
        self._settle_ns = round(settle * 1e9)
        self.problems: list[str] = []
        self._manifest = bundle.manifest
        names = [entry.name for entry in bundle.manifest.classes]
        self._sky = names.index('sky') if 'sky' in names else None
        self._engine = engine
        self._seed, self._every, self._max_forecasts = seed, every, max_forecasts
        self._moments = MomentKeeper(moments)
        self._forecaster = Forecaster(engine, bundle.manifest, num_samples=num_samples,
                                      num_futures=num_futures, seed=seed, queries=queries)
        self._maker = CandidateMaker(engine, bundle.manifest, load_baselines(bundle))
        self._matcher: FutureMatcher[_Made, Seen] = FutureMatcher(bundle.manifest.leads)
        self._leads = [LeadScore(bundle.manifest) for _ in bundle.manifest.leads]
        self._weights = WeightScore()
        self._bags: list[dict[str, Any]] = []
        self._restarts: Counter[str] = Counter()
        self._timings: list[dict[str, float]] = []
        self._offsets: list[int] = []
        self._truth_kinds: dict[str, set[str]] = {'labels': set(), 'depth': set()}
        self._scored = self._dropped = 0

    @property
    def finished(self) -> bool:
        """Say whether `max_forecasts` is reached."""
        return self._max_forecasts is not None and len(self._timings) >= self._max_forecasts

    def run(self, bag: BagFrames, advance: Callable[[], None] = lambda: None) -> None:
        """Score a bag on top of those before it; `advance` is called for each image."""
        fit: ImageFit | None = None
        scales: set[float] = set()
        frames = ready = 0
        scored_before = self._scored
        first_stamp = context_began = 0
        for frame in bag:
            first_stamp = first_stamp or frame.stamp
            if frame.stamp - first_stamp > self._end_ns:
                break
            advance()
            # Time may go back to before the first image: that is the bag's, not left out.
            if 0 < self._start_ns > frame.stamp - first_stamp:
                continue
            frames += 1
            if fit is None or (fit.source_height, fit.source_width) != frame.image.shape[:2]:
                fit = self._fit(frame)
            image = fit.apply(frame.image)
            observed = self._forecaster.observe(
                image, frame.stamp, source=(frame.image.shape, frame.frame_id))
            if observed.restarted or frames == 1:
                context_began = frame.stamp
            if observed.restarted and frames > 1:
                self._restarts[observed.restarted] += 1
                self._score_all(self._matcher.end(), first_stamp)
            seen = Seen(self._scale(fit, frame, bag), image,
                        self._engine.features_to_host(self._forecaster.features),
                        self._truth_map(bag, 'labels', fit, frame.labels, UNLABELLED),
                        self._truth_map(bag, 'depth', fit, frame.depth, np.nan))
            scales.add(seen.scale)
            self._score_all(self._matcher.add_frame(frame.stamp, seen), first_stamp)
            settled = frame.stamp - context_began >= self._settle_ns
            if self._forecaster.ready and settled and not self.finished:
                if ready % self._every == 0:
                    self._matcher.add_forecast(frame.stamp, _Made(self._sample(), seen))
                ready += 1
            if self.finished and not self._matcher.waiting:
                break
        self._score_all(self._matcher.end(), first_stamp)
        self._dropped += bag.unreadable
        if bag.problem:
            self.problems.append(f'{bag.path}: {bag.unreadable} unreadable: {bag.problem}')
        self._bags.append({
            'path': str(bag.path), 'topics': bag.topics, 'frames': frames,
            'forecasts': self._scored - scored_before,
            'depth_scale': [min(scales, default=1.0), max(scales, default=1.0)],
        })
        self._forecaster.reset('the bag ended')

    @property
    def moments(self) -> list[Moment]:
        """Return the moments that are kept for the report."""
        return self._moments.chosen()

    def result(self) -> dict[str, Any]:
        """Return every score as a dictionary that is valid JSON; NaN becomes None."""
        if not self._scored:
            raise UserError(self._explain_nothing())
        truth_of = {name: '+'.join(sorted(kinds)) for name, kinds in self._truth_kinds.items()}
        totals = [sum(timings.values()) for timings in self._timings]
        offsets = np.abs(self._offsets) / 1e6
        leads = zip(self._manifest.leads, self._leads, strict=True)
        result: dict[str, Any] = strict_json({
            'bundle': self._manifest.name,
            'engine': self._engine.name,
            'source': ', '.join(bag['path'] for bag in self._bags),
            'truth': 'ground_truth' if 'ground_truth' in truth_of.values() else 'pseudo',
            'truth_of': truth_of,
            'forecasts': self._scored,
            'unscored': self._matcher.unmatched,
            'frames': sum(bag['frames'] for bag in self._bags),
            'dropped': self._dropped,
            'restarts': sum(self._restarts.values()),
            'restart_reasons': dict(self._restarts),
            'truth_offset_ms': {'mean': float(offsets.mean()), 'max': float(offsets.max())},
            'num_samples': self._forecaster.num_samples,
            'num_futures': self._forecaster.num_futures,
            'plain_samples': PLAIN_SAMPLES,
            'queries': self._forecaster.queries,
            'seed': self._seed,
            'every': self._every,
            'seconds': [self._start_ns / 1e9, self._end_ns / 1e9],
            'latency_ms': {**percentiles(totals), 'stages_p50': {
                stage: percentiles([timings[stage] for timings in self._timings])['p50']
                for stage in self._timings[0]}},
            'leads': {f'{lead:g}': score.result() for lead, score in leads},
            'weights': self._weights.result(),
            'bags': self._bags,
        })
        return result

    def _fit(self, frame: Frame) -> ImageFit:
        height, width = frame.image.shape[:2]
        return ImageFit(width, height, self._manifest.image_width, self._manifest.image_height)

    def _scale(self, fit: ImageFit, frame: Frame, bag: BagFrames) -> float:
        """Return what turns the heads' depth into metres of the camera, 1 where it is unknown."""
        if frame.intrinsics is None:
            self._tell(f'{bag.path}: no calibrated camera_info, depth is not scaled')
            return 1.0
        if frame.intrinsics_size != (fit.source_width, fit.source_height):
            width, height = frame.intrinsics_size
            self._tell(f'{bag.path}: camera_info is for {width}x{height} pixels, images have '
                       f'{fit.source_width}x{fit.source_height}: depth is not scaled')
            return 1.0
        return depth_scale(self._manifest, fit.intrinsics(frame.intrinsics)[0, 0])

    def _tell(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _truth_map(self, bag: BagFrames, role: str, fit: ImageFit, truth: np.ndarray | None,
                   unknown: float) -> np.ndarray | None:
        """Return the region of a truth map that the model sees, at the size of the maps."""
        m = self._manifest
        if bag.topics[role] is None:
            return None
        if truth is None:  # a frame without truth in a bag that has it is not scored
            return np.full((m.map_height, m.map_width), unknown,
                           np.uint8 if role == 'labels' else np.float32)
        # The truth may come at another size than the image.
        scale_x, scale_y = truth.shape[1] / fit.source_width, truth.shape[0] / fit.source_height
        x, y, width, height = fit.region
        return reduce_map(truth, (m.map_width, m.map_height),
                          (x * scale_x, y * scale_y, width * scale_x, height * scale_y))

    def _sample(self) -> Sampled:
        sampled = self._maker.sample(self._forecaster)
        self._timings.append(sampled.timings)
        return sampled

    def _score_all(self, matched: list[Matched[_Made, Seen]], first_stamp: int) -> None:
        for one in matched:
            self._score(one, (one.stamp - first_stamp) / 1e9)

    def _score(self, matched: Matched[_Made, Seen], seconds: float) -> None:
        sampled, scale = matched.forecast.sampled, matched.forecast.now.scale
        oracle = [self._heads(seen) for seen in matched.frames]
        columns = self._maker.columns(
            sampled, [seen.features for seen in matched.frames], oracle)
        for step, (score, seen) in enumerate(zip(self._leads, matched.frames, strict=True)):
            labels, depth = self._truth(seen, oracle[step])
            score.add(columns[step], sampled.maps['confidence'][step + 1], seen.features, labels,
                      depth, scale)
        distance = smooth_l1(np.stack([one.features for one in columns[-1]['mean_of_futures']]),
                             matched.frames[-1].features)
        self._weights.add(sampled.weights, int(distance.argmin()))
        self._offsets += matched.offsets
        self._scored += 1
        self._moments.offer(lambda: Moment(
            seconds=seconds, lead=self._manifest.leads[-1], image=matched.forecast.now.image,
            future_image=matched.frames[-1].image,
            present_labels=sampled.maps['fused_labels'][0],
            present_depth=sampled.maps['fused_depth'][0] * scale,
            fused_labels=sampled.maps['fused_labels'][-1],
            fused_depth=sampled.maps['fused_depth'][-1] * scale,
            confidence=sampled.maps['confidence'][-1], labels=sampled.maps['labels'][:, -1],
            weights=sampled.weights, true_labels=labels, true_depth=depth))

    def _truth(self, seen: Seen, oracle: Candidate) -> tuple[np.ndarray, np.ndarray]:
        """Return true labels and metres: the bag's, else what the heads see in the true frame."""
        for name, given in (('labels', seen.labels), ('depth', seen.depth)):
            self._truth_kinds[name].add('pseudo' if given is None else 'ground_truth')
        # The sky has no depth: what the heads say there is not published either.
        depth = np.where(oracle.labels == self._sky, np.nan, oracle.depth * seen.scale)
        return (oracle.labels if seen.labels is None else seen.labels,
                depth if seen.depth is None else seen.depth)

    def _heads(self, seen: Seen) -> Candidate:
        if seen.heads is None:
            seen.heads = Candidate(seen.features, *self._maker.heads(seen.features))
        return seen.heads

    def _explain_nothing(self) -> str:
        paths = ', '.join(bag['path'] for bag in self._bags) or 'no bag'
        m = self._manifest
        needed = (m.context_length - 1) * m.stride + m.leads[-1]
        reasons = ''.join(f'; {reason}' for reason in (*self.problems, *self._restarts)[:3])
        return (f'{paths}: no forecast could be scored: {len(self._timings)} were made from '
                f'{sum(bag["frames"] for bag in self._bags)} images; a drive needs at least '
                f'{needed:.1f} s without a gap at {1 / m.stride:.0f} images a second or more'
                f'{reasons}')
