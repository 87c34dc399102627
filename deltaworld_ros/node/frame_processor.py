# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages to outputs: decode, fit, observe, forecast, publish."""

from __future__ import annotations

import time
from functools import lru_cache, partial
from typing import Any

from rclpy.clock import Clock
from std_msgs.msg import Header

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_decoding import MAX_PIXELS, DecodedImage
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import Camera, Matrix, resize_matrix
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster
from deltaworld_ros.forecast.frame_gate import Restart, Verdict
from deltaworld_ros.node.frame_bound import FrameBound
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.frame_score import FrameScore, Part
from deltaworld_ros.node.image_decoding import decode_image
from deltaworld_ros.node.mailbox import Batch, WaitingFrame
from deltaworld_ros.node.plan_answers import PlanAnswers
from deltaworld_ros.node.planner_inputs import PlannerInputs
from deltaworld_ros.node.planner_scene import RobotState
from deltaworld_ros.node.publishers import ForecastPublishers, Request
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.throttled_log import ThrottledLog, clip, kind_of


class FrameProcessor:
    """
    Processes images one by one in the worker's thread; `process` never raises.

    `camera`, `output_width`, `abandoned` and `score.watched` may be set from other threads. An
    abandoned processor says nothing more: its node has gone on without it.
    """

    def __init__(self, forecaster: Forecaster, manifest: Manifest, engine_name: str,
                 publishers: ForecastPublishers, statistics: Statistics, clock: Clock,
                 log: ThrottledLog, *, fit: str, output_width: int,
                 planner: PlannerInputs | None = None, plans: PlanAnswers | None = None,
                 name: str = '', max_pixels: int = MAX_PIXELS) -> None:
        self.output_width = output_width
        self.abandoned = False
        self.failed_ns: int | None = None   # stamp of the last frame that could not be used
        self.camera: Camera | None = None
        self.camera_problem = 'no camera_info has arrived'
        self.depth_scale: float | None = None
        self.score = FrameScore(manifest)
        self._bound = FrameBound(manifest)
        self.ego_problem = ''
        self._planner, self._plans, self._name = planner, plans, name
        self._forecaster = forecaster
        self._manifest = manifest
        self._engine_name = engine_name
        self._publishers = publishers
        self._statistics = statistics
        self._clock = clock
        self._log = log
        self._fit = fit
        self._max_pixels = max_pixels
        self._bit_depth = BitDepth()
        self._seen_size: tuple[int, int] | None = None

    def reset(self, reason: Restart) -> None:
        """Forget the context; only while no batch is in work."""
        self._forecaster.reset(reason)
        self._forget()

    def _forget(self) -> None:
        """Give up what waits for its future: the context begins anew."""
        self.score.forget()
        self._bound.forget()

    def process(self, batch: Batch) -> None:
        """Forecast from the last frame of a batch; observe before what its context needs."""
        self._forecaster.begin(batch.verdict)
        if batch.verdict.restart:
            self._forget()
        needed = self._forecaster.needed([frame.stamp_ns for frame in batch.frames])
        chosen = [frame for frame in batch.frames if frame.stamp_ns in needed]
        self._statistics.dropped(len(batch.frames) - len(chosen))
        for frame in chosen:
            try:
                self._process(frame, context_only=frame is not chosen[-1])
            except UserError as error:
                self.failed_ns = frame.stamp_ns
                self._statistics.refused(clip(str(error)))
                self._log.error(kind_of(error), f'image refused: {error}')
            # Whatever an engine, a driver or a full device raises must not end the node.
            except Exception as error:
                if self.abandoned:
                    return
                self.failed_ns = frame.stamp_ns
                text = clip(f'{type(error).__name__}: {error}')
                self._statistics.engine_failed(text)
                self._log.error(kind_of(error), f'a frame could not be computed: {text}')

    def _process(self, frame: WaitingFrame, context_only: bool) -> None:
        started = time.perf_counter()
        manifest, message = self._manifest, frame.message
        image = self._decode(message)
        fit, to_input = _fit_to_input(
            image.rgb.shape[1::-1], (image.width, image.height),
            (manifest.image_width, manifest.image_height), self._fit)
        fitted = fit.apply(image.rgb)
        camera = self._fitting_camera(image)
        self.depth_scale = None if camera is None else depth_scale(
            manifest, to_input @ camera.pinhole)
        decoded = time.perf_counter()

        self._observe(frame, image, fitted, context_only)
        if context_only:
            return
        observed = time.perf_counter()
        wanted = self._publishers.wanted()
        request = self._publishers.request(wanted)
        self._statistics.wanted(request.ahead)
        part = self.score.begin(frame.stamp_ns, self._forecaster.ready, request.score)
        forecast = self._forecast(request, part)
        computed = time.perf_counter()

        # As late as possible: the odometry of the image's stamp may have come meanwhile.
        robot = self._robot(message.header, forecast, any(
            topic.output.plans for topic in wanted))
        result = FrameResult(
            message.header, fitted, manifest, self._engine_name, camera, to_input,
            self.depth_scale, self.output_width, forecast, robot=robot,
            now_ns=self._clock.now().nanoseconds)
        if request.bound:
            self._bound.take(result)
            if result.bounds:
                self._statistics.bounded(result.bounds)
        else:
            self._bound.forget()
        number = self._publishers.publish(
            [topic for topic in wanted if not topic.output.needs.late], result)
        sent = time.perf_counter()
        if forecast is not None:
            result.timings.update({
                stage: value for stage, value in forecast.timings.items() if value})
            if part.present or part.ahead:
                self._take_score(part, result)
                result.timings['score'] = 1e3 * (time.perf_counter() - sent)
        result.timings.update(
            input=1e3 * (decoded - started), observe=1e3 * (observed - decoded),
            output=1e3 * (sent - computed), total=1e3 * (time.perf_counter() - started))
        result.age = (self._clock.now().nanoseconds - frame.stamp_ns) / 1e9
        self._statistics.took(result.timings)
        if number:
            self._statistics.published(result.age, forecast=result.num_leads > 1)
        self._publishers.publish(
            [topic for topic in wanted if topic.output.needs.late], result)
        if self._plans is not None and self._planner is not None:
            self._plans.answer(self._forecaster, result, partial(
                self._planner.state, self._name, message.header, manifest.leads, True))

    def _take_score(self, part: Part, result: FrameResult) -> None:
        assert result.forecast is not None
        result.scores = self.score.finish(part, result.forecast, self._forecaster.host_features)
        if result.scores:
            self._statistics.scored(result.scores)

    def _decode(self, message: Any) -> DecodedImage:
        bits = self._bit_depth.bits
        image = decode_image(
            message, (self._manifest.image_width, self._manifest.image_height), self._bit_depth,
            self._max_pixels)
        if self._bit_depth.bits != bits and self._bit_depth.note():
            self._log.info(self._bit_depth.note())
        return image

    def _observe(self, frame: WaitingFrame, image: DecodedImage, fitted: Any,
                 context_only: bool) -> None:
        # The gate knows the size of raw images; compressed ones tell it only now.
        size = (image.width, image.height)
        if self._seen_size not in (None, size) and hasattr(frame.message, 'format'):
            self._forecaster.begin(Verdict(Restart.SOURCE_CHANGED))
            self._forget()
            self._statistics.restarted(Restart.SOURCE_CHANGED)
            self._log.warn('size', f'the context restarts: {Restart.SOURCE_CHANGED.value}: images '
                           f'of {size[0]}x{size[1]} pixels')
        self._seen_size = size
        filled = self._forecaster.ready
        fill = self._forecaster.take_in(fitted, frame.stamp_ns)
        self._statistics.accepted(fill, self._forecaster.ready, context_only=context_only)
        if filled and fill == 1:
            self._statistics.broke()
            self._log.warn('break', 'the context broke: no image was observed '
                           f'{0.5 * self._manifest.stride:g} to {1.5 * self._manifest.stride:g} s '
                           'before this one')

    def _forecast(self, request: Request, part: Part) -> Forecast | None:
        """Run the graphs, and of the decoder the leads, that the topics and the score need."""
        leads = tuple(sorted({0, *request.leads})) if part.present else request.leads
        if part.ahead or (request.ahead and self._forecaster.ready):
            forecast = self._forecaster.forecast(
                futures=request.futures, features=part.ahead, leads=leads,
                pictures=request.pictures)
        elif 0 in leads:
            forecast = self._forecaster.present()
        else:
            return None
        self._statistics.decoded()
        return forecast

    def _robot(self, header: Header, forecast: Forecast | None, planned: bool) -> RobotState:
        """Return where the robot is and how it moves, as far as anybody needs it."""
        if self._planner is None or forecast is None:
            self.ego_problem = ''
            return RobotState()
        robot = self._planner.state(self._name, header, forecast.leads, planned)
        self.ego_problem = robot.problem
        return robot

    def _fitting_camera(self, image: DecodedImage) -> Camera | None:
        camera = self.camera
        if camera is None:
            return None
        problem = camera.size_problem(image.width, image.height)
        if problem:
            self.camera_problem = problem
            self._log.error('camera_info of another size', self.camera_problem)
            return None
        return camera


@lru_cache(maxsize=4)
def _fit_to_input(decoded: tuple[int, int], camera: tuple[int, int], target: tuple[int, int],
                  mode: str) -> tuple[ImageFit, Matrix]:
    """Return the fit of a decoded image, and the matrix from camera pixels to input pixels."""
    fit = ImageFit(*decoded, *target, mode)
    # The decoder may have halved the image; the camera's pixels are those of the full one.
    return fit, fit.intrinsics(resize_matrix(decoded[0] / camera[0], decoded[1] / camera[1]))
