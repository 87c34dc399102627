# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score every forecast of recordings against what then came (design, section 9)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine import Engine
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.baselines import load_baselines
from deltaworld_ros.evaluate.columns import ColumnMaker
from deltaworld_ros.evaluate.drive import Drive, Made, Options, Seen
from deltaworld_ros.evaluate.matching import Matched
from deltaworld_ros.evaluate.moments import Moment, MomentKeeper
from deltaworld_ros.evaluate.pairs import Candidate, Pair, Truth
from deltaworld_ros.evaluate.results import pooled_result
from deltaworld_ros.evaluate.scorebook import measure
from deltaworld_ros.evaluate.scorers import make_scorers


class Evaluator:
    """Scores recordings one after another; `moments` of each are kept as pictures."""

    def __init__(self, engine: Engine, bundle: Bundle, options: Options | None = None, *,
                 moments: int = 0) -> None:
        self.bags: list[BagScores] = []
        self._engine, self._bundle = engine, bundle
        self._options = options or Options()
        self._num_moments = moments
        self._maker = ColumnMaker(engine, bundle.manifest, load_baselines(bundle))
        self._scorers = make_scorers(bundle.manifest)
        names = [entry.name for entry in bundle.manifest.classes]
        self._sky = names.index('sky') if 'sky' in names else None

    def run(self, bag: BagFrames, advance: Callable[[], None] = lambda: None) -> BagScores:
        """Score a recording; `advance` is called for each of its images."""
        drive = Drive(self._engine, self._bundle, self._maker, bag, self._options)
        scores = BagScores(drive.report, {
            'engine': self._engine.name, 'num_samples': drive.forecaster.num_samples,
            'num_futures': drive.forecaster.num_futures, 'queries': drive.forecaster.queries})
        moments = MomentKeeper(self._num_moments)
        for matched in drive.pairs(advance):
            made = matched.forecast
            pairs = self._pairs(made, matched.frames, scores)
            scores.clips.add(made.now.clip, measure(self._scorers, pairs))
            scores.offsets += matched.offsets
            scores.scored += 1
            moments.offer(functools.partial(self._moment, matched, pairs[-1]))
        scores.moments = moments.chosen()
        self.bags.append(scores)
        return scores

    @property
    def problems(self) -> list[str]:
        """Return what was left out, a line each."""
        return [problem for bag in self.bags for problem in bag.report.problems]

    @property
    def moments(self) -> list[Moment]:
        """Return the moments that are kept for the report, evenly spread over the recordings."""
        return spread([moment for bag in self.bags for moment in bag.moments], self._num_moments)

    def result(self) -> dict[str, Any]:
        """Return every score as a dictionary that is valid JSON; NaN becomes None."""
        return pooled_result(self._bundle.manifest, self._options, self.bags)

    def _pairs(self, made: Made, frames: Sequence[Seen], scores: BagScores) -> list[Pair]:
        """Put every way of forecasting beside what came, for each lead."""
        oracle = [self._heads(seen) for seen in frames]
        columns = self._maker.columns(made.sampled, made.now.scale, made.flow, oracle)
        confidence = made.sampled.maps['confidence']
        return [Pair(column, confidence[step + 1], self._truth(seen, oracle[step], scores))
                for step, (column, seen) in enumerate(zip(columns, frames, strict=True))]

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

    def _moment(self, matched: Matched[Made, Seen], last: Pair) -> Moment:
        made, sampled = matched.forecast, matched.forecast.sampled
        present, fused = last.columns['copy_last'][0], last.columns['fused'][0]
        return Moment(
            seconds=made.now.seconds, lead=self._bundle.manifest.leads[-1],
            image=made.now.image, future_image=matched.frames[-1].image,
            present_labels=present.labels, present_depth=present.depth,
            fused_labels=fused.labels, fused_depth=fused.depth,
            confidence=last.confidence, labels=sampled.maps['labels'][:, -1],
            weights=sampled.weights, true_labels=last.truth.labels,
            true_depth=last.truth.depth)


def spread(moments: Sequence[Moment], wanted: int) -> list[Moment]:
    """Choose at most the wanted number, evenly."""
    places = np.linspace(0, len(moments) - 1, min(wanted, len(moments)))
    return [moments[round(place)] for place in places]
