# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score every forecast of recordings against what then came."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import PAINT_GRAPH
from deltaworld_ros.engine import Engine
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.baselines import load_baselines
from deltaworld_ros.evaluate.bound_coverage import BoundCoverage
from deltaworld_ros.evaluate.column_names import COLUMNS
from deltaworld_ros.evaluate.columns import ColumnMaker
from deltaworld_ros.evaluate.drive import Drive, Made, Options, Seen
from deltaworld_ros.evaluate.forecast_bag import ForecastBag
from deltaworld_ros.evaluate.matching import Matched
from deltaworld_ros.evaluate.moments import (
    PAINTED_FUTURES,
    Moment,
    MomentKeeper,
    WorstMoments,
)
from deltaworld_ros.evaluate.pairs import Candidate, Pair, Truth
from deltaworld_ros.evaluate.results import pooled_result, problems, spread_moments
from deltaworld_ros.evaluate.rolling_on import all_leads
from deltaworld_ros.evaluate.scorebook import LeadSums, measure
from deltaworld_ros.evaluate.scorebook import scores as scores_of
from deltaworld_ros.evaluate.scorers import make_scorers
from deltaworld_ros.evaluate.summary import strict_json
from deltaworld_ros.evaluate.timed_engine import TimedEngine

# So many of the worst moments are kept, where any are.
WORST = 6
# What is kept of each single forecast.
_RECORDED = ('fused', 'copy_last', 'constant_flow')
_RECORD_METRICS = ('feature_error', 'miou', 'pixel_accuracy', 'depth_absrel', 'obstacle_error',
                   'obstacle_crps')


class Evaluator:
    """Scores recordings one after another; `moments` of each, and as many worst, are kept."""

    def __init__(self, engine: Engine, bundle: Bundle, options: Options | None = None, *,
                 moments: int = 0) -> None:
        self.bags: list[BagScores] = []
        self._engine, self._bundle = TimedEngine(engine), bundle
        self._options = options or Options()
        self._num_moments = moments
        self._paints = PAINT_GRAPH in bundle.manifest.files
        self._leads = all_leads(bundle.manifest, self._options.horizon)
        self._maker = ColumnMaker(
            self._engine, bundle.manifest, load_baselines(bundle), self._leads)
        self._scorers = make_scorers(bundle.manifest)
        names = [entry.name for entry in bundle.manifest.classes]
        self._sky = names.index('sky') if 'sky' in names else None

    def run(self, bag: BagFrames, advance: Callable[[], None] = lambda: None,
            forecasts: ForecastBag | None = None) -> BagScores:
        """
        Score a recording; `advance` is called for each of its images.

        The forecasts that are scored are written to `forecasts`.
        """
        drive = Drive(self._engine, self._bundle, self._maker, bag, self._options)
        scores = BagScores(drive.report, {
            'engine': self._engine.name, 'num_samples': drive.forecaster.num_samples,
            'num_futures': drive.forecaster.num_futures, 'queries': drive.forecaster.queries})
        moments = MomentKeeper(self._num_moments)
        worst = WorstMoments(min(WORST, self._num_moments))
        bounds = BoundCoverage(self._bundle.manifest, self._leads)
        before, started, scoring = dict(self._engine.seconds), time.perf_counter(), 0.0
        for matched in drive.pairs(advance):
            made = matched.forecast
            pairs = self._pairs(made, matched.frames, scores)
            measuring = time.perf_counter()
            measured = measure(self._scorers, pairs)
            record = self._record(matched, measured)
            for lead, held in zip(
                    measured, bounds.measure(matched.stamp, pairs), strict=True):
                lead.update(held)
            scores.clips.add(made.now.clip, measured)
            scores.records.append(record)
            scoring += time.perf_counter() - measuring
            if forecasts is not None:
                self._write(forecasts, matched.stamp, made, pairs)
            scores.offsets += matched.offsets
            scores.scored += 1
            make = functools.partial(
                self._moment, Path(scores.report.path).name, matched,
                pairs[self._bundle.manifest.steps - 1])
            moments.offer(make)
            worst.offer(self._loss(record), make)
        scores.moments, scores.worst = moments.chosen(), worst.chosen()
        scores.profile = {
            'total': time.perf_counter() - started, 'scorers': scoring,
            **{graph: self._engine.seconds[graph] - before[graph] for graph in before}}
        self.bags.append(scores)
        return scores

    @property
    def problems(self) -> list[str]:
        """Return what was left out, a line each."""
        return problems(self.bags)

    @property
    def moments(self) -> list[Moment]:
        """Return the moments that are kept for the report, evenly spread over the recordings."""
        return spread_moments(self.bags, self._num_moments)

    def result(self) -> dict[str, Any]:
        """Return every score as a dictionary that is valid JSON; NaN becomes None."""
        return pooled_result(self._bundle.manifest, self._options, self.bags)

    def _pairs(self, made: Made, frames: Sequence[Seen], scores: BagScores) -> list[Pair]:
        """Put every way of forecasting beside what came, for each lead."""
        oracle = [self._heads(seen) for seen in frames]
        columns = self._maker.columns(made.sampled, made.now.scale, made.moves, oracle)
        confidence = self._maker.confidence(made.sampled, columns)
        return [Pair(column, confidence[step], self._truth(seen, oracle[step], scores))
                for step, (column, seen) in enumerate(zip(columns, frames, strict=True))]

    def _record(self, matched: Matched[Made, Seen], measured: LeadSums) -> dict[str, Any]:
        """Return the scores of one forecast alone, of the columns that a robot compares."""
        few = [{scorer: {name: values for name, values in sums.items()
                         if name not in COLUMNS or name in _RECORDED}
                for scorer, sums in lead.items()} for lead in measured]
        leads = scores_of(self._scorers, few)
        record: dict[str, Any] = strict_json({
            'stamp': matched.stamp, 'seconds': matched.forecast.now.seconds,
            'weights': matched.forecast.sampled.weights.tolist(),
            'truth_offset_ms': [offset / 1e6 for offset in matched.offsets],
            'leads': {f'{lead:g}': {metric: one[metric] for metric in _RECORD_METRICS}
                      for lead, one in zip(self._leads, leads, strict=True)}})
        return record

    def _loss(self, record: dict[str, Any]) -> float | None:
        """Return the share of pixels that copy-last got right and the forecast did not, net."""
        right = record['leads'][f'{self._bundle.manifest.leads[-1]:g}']['pixel_accuracy']
        if right['fused'] is None:
            return None
        return float(right['copy_last'] - right['fused'])

    def _write(self, forecasts: ForecastBag, stamp: int, made: Made,
               pairs: Sequence[Pair]) -> None:
        now = made.now
        forecasts.add_image(stamp, now.frame_id, now.image)
        present = pairs[0].columns['copy_last'][0]
        sure = np.ones(present.labels.shape, np.float32)
        forecasts.add_lead(stamp, now.frame_id, 0.0, present, sure, now.intrinsics)
        for lead, pair in zip(self._leads, pairs, strict=True):
            forecasts.add_lead(stamp, now.frame_id, lead, pair.columns['fused'][0],
                               pair.confidence, now.intrinsics)

    def _heads(self, seen: Seen) -> Candidate:
        if seen.heads is None:
            seen.heads = self._maker.heads(seen.features)
        labels, depth = seen.heads
        return Candidate(seen.features, labels, depth * seen.scale)

    def _truth(self, seen: Seen, oracle: Candidate, scores: BagScores) -> Truth:
        """Return the recording's truth, else what the heads see in the true frame."""
        for name, given in (('labels', seen.labels), ('depth', seen.depth)):
            scores.truth_kinds[name].add('pseudo' if given is None else 'ground_truth')
        # The sky has no depth: what the heads say there is not published either.
        depth = np.where(oracle.labels == self._sky, np.nan, oracle.depth)
        return Truth(seen.features, oracle.labels if seen.labels is None else seen.labels,
                     depth if seen.depth is None else seen.depth)

    def _moment(self, recording: str, matched: Matched[Made, Seen], last: Pair) -> Moment:
        made, sampled = matched.forecast, matched.forecast.sampled
        present, fused = last.columns['copy_last'][0], last.columns['fused'][0]
        futures = sampled.maps['future_features'][:PAINTED_FUTURES if self._paints else 0, -1]
        return Moment(
            seconds=made.now.seconds, lead=self._bundle.manifest.leads[-1],
            image=made.now.image, future_image=matched.frames[-1].image,
            present_labels=present.labels, present_depth=present.depth,
            fused_labels=fused.labels, fused_depth=fused.depth,
            confidence=last.confidence, labels=sampled.maps['labels'][:, -1],
            weights=sampled.weights, true_labels=last.truth.labels,
            true_depth=last.truth.depth, recording=recording,
            features=futures.astype(np.float16))
