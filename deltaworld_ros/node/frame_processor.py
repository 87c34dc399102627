# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One image message to its outputs: decode, fit, observe, forecast, publish."""

from __future__ import annotations

import threading
import time
from functools import lru_cache
from typing import Any

from rclpy.clock import Clock
from std_msgs.msg import Header

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_decoding import DecodedImage, decode_image
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import Camera, Matrix, resize_matrix
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.outputs import Needs
from deltaworld_ros.node.publishers import ForecastPublishers, Request
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.throttled_log import ThrottledLog, kind_of


class FrameProcessor:
    """
    Processes images one by one in the worker's thread; `process` never raises.

    `camera`, `output_width` and `request_reset` may be set or called from other threads.
    """

    def __init__(self, forecaster: Forecaster, manifest: Manifest, engine_name: str,
                 publishers: ForecastPublishers, statistics: Statistics, clock: Clock,
                 log: ThrottledLog, *, fit: str, output_width: int) -> None:
        self.output_width = output_width
        self.camera: Camera | None = None
        self.camera_problem = 'no camera_info has arrived'
        self.depth_scale: float | None = None
        self._forecaster = forecaster
        self._manifest = manifest
        self._engine_name = engine_name
        self._publishers = publishers
        self._statistics = statistics
        self._clock = clock
        self._log = log
        self._fit = fit
        self._reset_lock = threading.Lock()
        self._reset_reason = ''

    def request_reset(self, reason: str) -> None:
        """Restart the context before the next frame, without waiting for the one in work."""
        with self._reset_lock:
            self._reset_reason = reason
        self._statistics.restarted(reason)
        self._log.info(f'the context restarts: {reason}')

    def process(self, message: Any) -> None:
        """Process one Image or CompressedImage."""
        try:
            self._process(message)
        except UserError as error:
            self._statistics.refused(str(error))
            self._log.error(kind_of(error), f'image refused: {error}')
        # Whatever an engine, a driver or a full device raises must not end the node.
        except Exception as error:
            text = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
            self._statistics.engine_failed(text)
            self._log.error(kind_of(error), f'a frame could not be computed: {text}')

    def _process(self, message: Any) -> None:
        started = time.perf_counter()
        manifest = self._manifest
        image = decode_image(message, (manifest.image_width, manifest.image_height))
        fit, to_input = _fit_to_input(
            image.rgb.shape[1::-1], (image.width, image.height),
            (manifest.image_width, manifest.image_height), self._fit)
        fitted = fit.apply(image.rgb)
        camera = self._fitting_camera(image)
        self.depth_scale = None if camera is None else depth_scale(
            manifest, float((to_input @ camera.intrinsics)[0, 0]))
        decoded = time.perf_counter()

        self._observe(message, image, fitted)
        observed = time.perf_counter()
        wanted = self._publishers.wanted()
        forecast = self._forecast(self._publishers.request(wanted))
        computed = time.perf_counter()

        result = FrameResult(
            message.header, fitted, manifest, self._engine_name, camera, to_input,
            self.depth_scale, self.output_width, forecast)
        number = self._publishers.publish(
            [topic for topic in wanted if topic.output.needs is not Needs.FRAME], result)
        finished = time.perf_counter()
        if forecast is not None:
            result.timings.update({
                stage: value for stage, value in forecast.timings.items() if value})
        result.timings.update(
            input=1e3 * (decoded - started), observe=1e3 * (observed - decoded),
            output=1e3 * (finished - computed), total=1e3 * (finished - started))
        result.age = (self._clock.now().nanoseconds - _nanoseconds(message.header)) / 1e9
        self._statistics.took(result.timings)
        if number:
            self._statistics.published(result.age)
        self._publishers.publish(
            [topic for topic in wanted if topic.output.needs is Needs.FRAME], result)

    def _observe(self, message: Any, image: DecodedImage, fitted: Any) -> None:
        with self._reset_lock:
            reason, self._reset_reason = self._reset_reason, ''
        if reason:
            self._forecaster.reset(reason)
        encoding = getattr(message, 'encoding', None) or message.format
        observed = self._forecaster.observe(
            fitted, _nanoseconds(message.header),
            source=(image.width, image.height, encoding, message.header.frame_id))
        if observed.restarted and not reason:
            self._statistics.restarted(observed.restarted)
            self._log.warn('the context restarts', f'the context restarts: {observed.restarted}')
        self._statistics.accepted(observed.fill)

    def _forecast(self, request: Request) -> Forecast | None:
        """Run the graphs, and of the decoder the leads, that the wanted topics need."""
        if request.ahead and self._forecaster.ready:
            forecast = self._forecaster.forecast(futures=request.futures, leads=request.leads)
        elif 0 in request.leads:
            forecast = self._forecaster.present()
        else:
            return None
        self._statistics.decoded()
        return forecast

    def _fitting_camera(self, image: DecodedImage) -> Camera | None:
        camera = self.camera
        if camera is None:
            return None
        if (camera.width, camera.height) != (image.width, image.height):
            self.camera_problem = (
                f'camera_info is for images of {camera.width}x{camera.height}, the image is '
                f'{image.width}x{image.height}')
            self._log.error('camera_info of another size', self.camera_problem)
            return None
        return camera


def _nanoseconds(header: Header) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


@lru_cache(maxsize=4)
def _fit_to_input(decoded: tuple[int, int], camera: tuple[int, int], target: tuple[int, int],
                  mode: str) -> tuple[ImageFit, Matrix]:
    """Return the fit of a decoded image, and the matrix from camera pixels to input pixels."""
    fit = ImageFit(*decoded, *target, mode)
    # The decoder may have halved the image; the camera's pixels are those of the full one.
    return fit, fit.intrinsics(resize_matrix(decoded[0] / camera[0], decoded[1] / camera[1]))
