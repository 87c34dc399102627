# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The loop of the evaluation: frames in, forecasts that have met their future out."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from deltaworld_ros.bags.frames import BagFrames, Frame
from deltaworld_ros.bags.odometry import read_odometry
from deltaworld_ros.bundle import Bundle
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_ros.engine import Engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.columns import ColumnMaker, Movements, Sampled
from deltaworld_ros.evaluate.matching import FutureMatcher, Matched
from deltaworld_ros.evaluate.misdated import without_misdated
from deltaworld_ros.evaluate.pairs import UNLABELLED
from deltaworld_ros.forecast.constant_flow import ConstantFlow
from deltaworld_ros.forecast.ego_motion import EgoMotion, Motion
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.forecast.frame_gate import Odd

# Forecasts of so many seconds stand and fall together when an interval is estimated.
CLIP_SECONDS = 5.0
# Odometry that is older (s) says nothing about the present.
_OLDEST_ODOMETRY = 0.5


@dataclass(frozen=True)
class Options:
    """
    How recordings are forecast.

    `every` forecasts from each n-th frame only and `max_forecasts` ends each recording after that
    many. `queries` replaces the bundle's way of sampling. `settle` leaves out the first seconds
    of each context, so that bundles with contexts of other lengths are compared on the same
    moments. `horizon` (s) rolls forecasts on beyond the bundle's last lead. `odometry` names the
    topic of the ego-motion baseline; one that is alone is found. Images from `start` to `end` are
    read, in seconds after the first one. `fit` is how images are fitted to the bundle's size.
    """

    num_samples: int | None = None
    num_futures: int | None = None
    seed: int = 0
    every: int = 1
    max_forecasts: int | None = None
    queries: Literal['fresh', 'kept'] | None = None
    start: float = 0.0
    end: float = math.inf
    settle: float = 0.0
    horizon: float | None = None
    odometry: str | None = None
    fit: str = 'crop'

    def __post_init__(self) -> None:
        """Refuse an empty part of the recording."""
        if not self.start < self.end:
            raise UserError(f'start {self.start:g} s, end {self.end:g} s: the start must be '
                            'before the end')


@dataclass
class Seen:
    """
    A frame that has come, `seconds` after the recording's first, in the clip of that number.

    `intrinsics` (3,3) are the camera's in pixels of the maps, None where it is not known. Image
    (h,w,3), features (N,D), the recording's true labels and depth (a,b) or None. `scale`
    turns the heads' depth into metres of this camera; `heads` (labels, depth) is filled when
    needed.
    """

    seconds: float
    clip: int
    scale: float
    frame_id: str
    intrinsics: np.ndarray | None
    image: np.ndarray
    features: np.ndarray
    labels: np.ndarray | None
    depth: np.ndarray | None
    heads: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Made:
    """A forecast, the frame that it was made from, and how that frame was moving."""

    sampled: Sampled
    now: Seen
    moves: Movements


@dataclass
class DriveReport:
    """What happened on the way: counts, and a line for each thing that was left out."""

    path: str
    topics: dict[str, str | None]
    frames: int = 0
    dropped: int = 0
    unmatched: int = 0
    restarts: Counter[str] = field(default_factory=Counter)
    odd_frames: Counter[str] = field(default_factory=Counter)   # left out, by kind
    timings: list[dict[str, float]] = field(default_factory=list)
    scales: set[float] = field(default_factory=set)
    scaled: bool = True
    problems: list[str] = field(default_factory=list)

    def tell(self, problem: str) -> None:
        """Note a problem once."""
        if problem not in self.problems:
            self.problems.append(problem)


class Drive:
    """
    Forecasts one recording frame by frame, in recorded order.

    The truth of a forecast is the frame nearest to stamp + lead, at most half a frame interval
    off; a forecast that lacks it at any lead is not given.
    """

    def __init__(self, engine: Engine, bundle: Bundle, maker: ColumnMaker, bag: BagFrames,
                 options: Options) -> None:
        self.report = DriveReport(str(bag.path), bag.topics)
        self._bag, self._options, self._maker = bag, options, maker
        self._engine, self._manifest = engine, bundle.manifest
        self.forecaster = Forecaster(
            engine, bundle.manifest, num_samples=options.num_samples,
            num_futures=options.num_futures, seed=options.seed, queries=options.queries)
        self._matcher: FutureMatcher[Made, Seen] = FutureMatcher(maker.leads)
        self._odometry = read_odometry(bag.path, options.odometry)
        self._recent: deque[tuple[int, np.ndarray]] = deque()
        self._clip, self._clip_began = -1, 0
        names = [entry.name for entry in bundle.manifest.classes]
        self._sky = names.index('sky') if 'sky' in names else None

    def pairs(self, advance: Callable[[], None] = lambda: None) -> Iterator[Matched[Made, Seen]]:
        """Yield each forecast once its future is there; `advance` is called for each image."""
        report, options = self.report, self._options
        first_stamp: int | None = None
        fit: ImageFit | None = None
        context_began = ready = 0

        def leave_out() -> None:
            advance()
            report.frames += 1
            report.odd_frames[Odd.AHEAD.value] += 1

        for frame in without_misdated(self._bag, leave_out):
            first_stamp = frame.stamp if first_stamp is None else first_stamp
            seconds = (frame.stamp - first_stamp) / 1e9
            if seconds > options.end:
                break
            advance()
            # Time may go back to before the first image: that is the recording's, not left out.
            if 0 < options.start > seconds:
                continue
            report.frames += 1
            if fit is None or (fit.source_height, fit.source_width) != frame.image.shape[:2]:
                fit = self._fit(frame)
            image = fit.apply(frame.image)
            observed = self.forecaster.observe(
                image, frame.stamp, source=(frame.image.shape, frame.frame_id))
            verdict = observed.verdict
            if verdict.odd:
                report.odd_frames[verdict.odd.value] += 1
                continue
            begins = report.frames == 1
            changed = verdict.restart is not None or verdict.resumed
            if changed or begins:
                context_began = frame.stamp
                self._recent.clear()
            if changed and not begins:
                if verdict.restart is not None:
                    report.restarts[verdict.restart.value] += 1
                yield from self._matcher.end()
            self._count_clip(frame.stamp, begins or changed)
            now = self._seen(fit, frame, image, seconds)
            yield from self._matcher.add_frame(frame.stamp, now)
            settled = frame.stamp - context_began >= round(options.settle * 1e9)
            if self.forecaster.ready and settled and not self._finished:
                if ready % options.every == 0:
                    self._matcher.add_forecast(frame.stamp, self._make(frame.stamp, now))
                ready += 1
            self._remember(frame.stamp, image)
            if self._finished and not self._matcher.waiting:
                break
        yield from self._matcher.end()
        report.dropped, report.unmatched = self._bag.unreadable, self._matcher.unmatched
        if self._bag.problem:
            report.tell(f'{report.path}: {report.dropped} images could not be read: '
                        f'{self._bag.problem}')
        for line in (self._bag.losses, self._bag.note):
            if line:
                report.tell(f'{report.path}: {line}')

    @property
    def _finished(self) -> bool:
        most = self._options.max_forecasts
        return most is not None and len(self.report.timings) >= most

    def _count_clip(self, stamp: int, begins: bool) -> None:
        if begins or stamp - self._clip_began >= CLIP_SECONDS * 1e9:
            self._clip += 1
            self._clip_began = stamp

    def _make(self, stamp: int, now: Seen) -> Made:
        sampled = self._maker.sample(self.forecaster)
        self.report.timings.append(sampled.timings)
        labels, depth = sampled.maps['fused_labels'][0], sampled.maps['fused_depth'][0]
        now.heads = labels, depth
        ego = None
        if self._odometry is not None and now.intrinsics is not None:
            ego = EgoMotion(now.scale * depth, labels == self._sky, now.intrinsics,
                            self._motion(stamp))
        return Made(sampled, now, Movements(self._flow(stamp, now.image), ego))

    def _motion(self, stamp: int) -> Motion:
        assert self._odometry is not None
        known = self._odometry.at(stamp, _OLDEST_ODOMETRY)
        if known is None:
            self.report.tell(f'{self.report.path}: odometry is missing for some images, which '
                             'the ego-motion baseline takes for standing still')
        return Motion(*(known or (0.0, 0.0)))

    def _flow(self, stamp: int, image: np.ndarray) -> ConstantFlow | None:
        """Return the motion since about one stride ago; over less time it is less exact."""
        if not self._recent:
            return None
        wanted = stamp - self._manifest.stride * 1e9
        before, previous = min(self._recent, key=lambda one: abs(one[0] - wanted))
        return ConstantFlow(previous, image, (stamp - before) / 1e9)

    def _remember(self, stamp: int, image: np.ndarray) -> None:
        self._recent.append((stamp, image))
        while stamp - self._recent[0][0] > 1.5e9 * self._manifest.stride:
            self._recent.popleft()

    def _fit(self, frame: Frame) -> ImageFit:
        height, width = frame.image.shape[:2]
        return ImageFit(width, height, self._manifest.image_width, self._manifest.image_height,
                        self._options.fit)

    def _seen(self, fit: ImageFit, frame: Frame, image: np.ndarray, seconds: float) -> Seen:
        scale, intrinsics = self._camera(fit, frame)
        self.report.scales.add(scale)
        return Seen(
            seconds, self._clip, scale, frame.frame_id, intrinsics, image,
            self._engine.features_to_host(self.forecaster.features),
            self._truth_map('labels', fit, frame.labels, UNLABELLED),
            self._truth_map('depth', fit, frame.depth, np.nan))

    def _camera(self, fit: ImageFit, frame: Frame) -> tuple[float, np.ndarray | None]:
        """Return what turns depth into metres and the maps' matrix; 1 and None where unknown."""
        if frame.intrinsics is None:
            self.report.scaled = False
            self.report.tell(
                f'{self.report.path}: depth is not scaled: {frame.camera_problem}')
            return 1.0, None
        m = self._manifest
        return (depth_scale(m, fit.intrinsics(frame.intrinsics)),
                fit.intrinsics(frame.intrinsics, m.map_width, m.map_height))

    def _truth_map(self, role: str, fit: ImageFit, truth: np.ndarray | None,
                   unknown: float) -> np.ndarray | None:
        """Return the region of a truth map that the model sees, at the size of the maps."""
        m = self._manifest
        if self._bag.topics[role] is None:
            return None
        if truth is None:  # a frame without truth in a recording that has it is not scored
            return np.full((m.map_height, m.map_width), unknown,
                           np.uint8 if role == 'labels' else np.float32)
        # The truth may come at another size than the image.
        scale_x, scale_y = truth.shape[1] / fit.source_width, truth.shape[0] / fit.source_height
        x, y, width, height = fit.region
        return reduce_map(truth, (m.map_width, m.map_height),
                          (x * scale_x, y * scale_y, width * scale_x, height * scale_y))
