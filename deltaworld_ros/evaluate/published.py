# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score what a running node published, by its topics alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.column_names import COLUMN_TITLES
from deltaworld_ros.evaluate.matching import FutureMatcher, Matched
from deltaworld_ros.evaluate.moments import Moment
from deltaworld_ros.evaluate.scorers.depth import absrel
from deltaworld_ros.evaluate.scorers.segmentation import (
    confusion,
    counts,
    mean_iou,
    pixel_accuracy,
)
from deltaworld_ros.evaluate.summary import percentiles, strict_json
from deltaworld_ros.forecast.differences import depth_sums

WAYS = {
    'fused': 'the published forecast: the weighted futures combined',
    'best_of_k': 'the best of the K published futures (known only afterwards)',
    'copy_last': 'nothing changes: the maps of the present frame',
}
TITLES = {way: COLUMN_TITLES[way] for way in WAYS}
_FUSED = ('segmentation', 'depth', 'confidence')
_FUTURES = ('futures/segmentation', 'futures/depth')
# Any distance counts: the node publishes NaN where it knows none.
_MAX_DEPTH = 1e9


@dataclass
class Published:
    """
    What one image led to; times are seconds of one clock, None where nothing was heard.

    `maps` holds arrays by (lead in ms, topic name below the lead): labels (a,b) uint8, depth (a,b)
    metres, and futures with a third axis (a,b,K).
    """

    image: np.ndarray | None = None
    image_time: float | None = None
    forecast_time: float | None = None
    weights: np.ndarray | None = None
    maps: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedScores:
    """
    The summary, moments for the report, and pictures of the drive.

    These are, for each forecast, when it was made (s), the image that came at its last lead, and
    the labels that were forecast and that came.
    """

    summary: dict[str, Any]
    moments: list[Moment]
    seconds: np.ndarray
    images: np.ndarray
    forecast_labels: np.ndarray
    true_labels: np.ndarray


class _LeadScore:
    """Labels and depth of the three ways at one lead."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._labels = {way: np.zeros((3, num_classes)) for way in WAYS}
        self._depth = {way: np.zeros(4) for way in WAYS}

    def add(self, labels: dict[str, np.ndarray], depth: dict[str, np.ndarray],
            true_labels: np.ndarray, true_depth: np.ndarray) -> None:
        """Add one forecast; a pixel's depth counts where all ways and the truth know it."""
        known = np.all([np.isfinite(one) for one in depth.values()], axis=0)
        true_depth = np.where(known, true_depth, np.nan)
        for way in WAYS:
            self._labels[way] += counts(confusion(labels[way], true_labels, self._num_classes))
            self._depth[way] += depth_sums(depth[way], true_depth, 0.0, _MAX_DEPTH)

    def result(self) -> dict[str, dict[str, float]]:
        """Return mIoU, share of right pixels and AbsRel by way."""
        return {
            'miou': {way: float(mean_iou(one)) for way, one in self._labels.items()},
            'pixel_accuracy': {
                way: float(pixel_accuracy(one)) for way, one in self._labels.items()},
            'depth_absrel': {way: float(absrel(one)) for way, one in self._depth.items()},
        }


def score_published(published: Mapping[int, Published], leads: Sequence[float], num_classes: int,
                    num_moments: int) -> PublishedScores:
    """
    Score every published forecast against the `lead_0ms` maps that came at stamp + lead.

    `published` is by header stamp in nanoseconds, `leads` are in seconds. The best of K is the
    future with the most right pixels at the last lead. Raise `UserError` where nothing can be
    scored.
    """
    matcher: FutureMatcher[Published, Published] = FutureMatcher(leads)
    matched: list[Matched[Published, Published]] = []
    forecasts = 0
    for stamp in sorted(published):
        one = published[stamp]
        if _has(one, 0, _FUSED[:2]):
            matched += matcher.add_frame(stamp, one)
            if all(_has(one, _milliseconds(lead), _FUSED + _FUTURES) for lead in leads):
                matcher.add_forecast(stamp, one)
                forecasts += 1
    matched += matcher.end()
    images = [one for one in published.values() if one.image_time is not None]
    answered = sum(_has(one, 0, _FUSED[:2]) for one in images)
    if not matched:
        raise UserError(
            f'no forecast could be scored: {len(images)} images were heard, {answered} of them '
            f'answered by present maps, {forecasts} by complete forecasts; it takes complete '
            f'forecasts, and images that are answered {max(leads):g} s later. Run it again while '
            'nothing else keeps the machine busy, or let `deltaworld evaluate` score the '
            'recording, which takes its time (`deltaworld benchmark` measures the speed)')

    scores = [_LeadScore(num_classes) for _ in leads]
    for found in matched:
        _score(found, leads, scores)
    times = [one.forecast_time for one in published.values() if one.forecast_time is not None]
    latency = [1e3 * (one.forecast_time - one.image_time) for one in published.values()
               if one.forecast_time is not None and one.image_time is not None]
    duration = max(times) - min(times)
    summary = strict_json({
        'forecasts': forecasts,
        'scored': len(matched),
        'images': len(images),
        'dropped': len(images) - answered,
        'rate_hz': (len(times) - 1) / duration if duration > 0 else float('nan'),
        'latency_ms': percentiles(latency),
        'leads': {f'{lead:g}': score.result()
                  for lead, score in zip(leads, scores, strict=True)},
    })
    pictured = [(found, now, came) for found in matched
                if (now := found.forecast.image) is not None
                and (came := found.frames[-1].image) is not None]
    last = _milliseconds(leads[-1])
    start = min(published)
    places = np.linspace(0, len(pictured) - 1, min(num_moments, len(pictured)))
    return PublishedScores(
        summary=summary,
        moments=[_moment(found, now, came, leads[-1], start)
                 for found, now, came in (pictured[round(place)] for place in places)],
        seconds=np.array([(found.stamp - start) / 1e9 for found, _, _ in pictured]),
        images=np.array([came for _, _, came in pictured]),
        forecast_labels=np.array(
            [found.forecast.maps[last, 'segmentation'] for found, _, _ in pictured]),
        true_labels=np.array(
            [found.frames[-1].maps[0, 'segmentation'] for found, _, _ in pictured]),
    )


def _score(matched: Matched[Published, Published], leads: Sequence[float],
           scores: Sequence[_LeadScore]) -> None:
    forecast, last = matched.forecast.maps, _milliseconds(leads[-1])
    right = forecast[last, 'futures/segmentation'] == \
        matched.frames[-1].maps[0, 'segmentation'][..., None]
    best = int(right.sum(axis=(0, 1)).argmax())
    for lead, score, frame in zip(leads, scores, matched.frames, strict=True):
        key = _milliseconds(lead)
        score.add(
            {'fused': forecast[key, 'segmentation'], 'copy_last': forecast[0, 'segmentation'],
             'best_of_k': forecast[key, 'futures/segmentation'][..., best]},
            {'fused': forecast[key, 'depth'], 'copy_last': forecast[0, 'depth'],
             'best_of_k': forecast[key, 'futures/depth'][..., best]},
            frame.maps[0, 'segmentation'], frame.maps[0, 'depth'])


def _moment(matched: Matched[Published, Published], image: np.ndarray, future_image: np.ndarray,
            lead: float, start: int) -> Moment:
    now, came = matched.forecast, matched.frames[-1]
    key = _milliseconds(lead)
    futures = now.maps[key, 'futures/segmentation']
    weights = now.weights
    if weights is None:  # forecast_info of this stamp was not heard
        weights = np.full(futures.shape[2], 1 / futures.shape[2])
    return Moment(
        seconds=(matched.stamp - start) / 1e9, lead=lead, image=image,
        future_image=future_image,
        present_labels=now.maps[0, 'segmentation'], present_depth=now.maps[0, 'depth'],
        fused_labels=now.maps[key, 'segmentation'], fused_depth=now.maps[key, 'depth'],
        confidence=now.maps[key, 'confidence'] / 255,
        labels=np.moveaxis(futures, 2, 0), weights=weights,
        true_labels=came.maps[0, 'segmentation'], true_depth=came.maps[0, 'depth'])


def _milliseconds(lead: float) -> int:
    return round(1000 * lead)


def _has(one: Published, lead: int, names: Sequence[str]) -> bool:
    return all((lead, name) in one.maps for name in names)
