# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One image message to its outputs: decode, fit, observe, forecast, publish."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rclpy.clock import Clock
from std_msgs.msg import Header, String

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_decoding import DecodedImage, decode_image
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import Camera, Matrix, resize_matrix
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster
from deltaworld_ros.node.publishers import ForecastPublishers, Scene, Topic
from deltaworld_ros.node.statistics import Statistics

Log = Callable[[str], None]


class FrameProcessor:
    """
    Processes images one by one in the worker's thread; `process` never raises.

    `camera`, `output_width` and `request_reset` may be set or called from other threads.
    """

    def __init__(self, forecaster: Forecaster, manifest: Manifest, outputs: ForecastPublishers,
                 statistics: Statistics, clock: Clock, engine_name: str, fit: str,
                 output_width: int, info: Log, warn: Log, error: Log) -> None:
        self.output_width = output_width
        self.camera: Camera | None = None
        self.camera_problem = 'no camera_info has arrived'
        self.depth_scale: float | None = None
        self._forecaster = forecaster
        self._manifest = manifest
        self._outputs = outputs
        self._statistics = statistics
        self._clock = clock
        self._engine_name = engine_name
        self._fit = fit
        self._info = info
        self._warn = warn
        self._error = error
        self._reset_lock = threading.Lock()
        self._reset_reason = ''

    def request_reset(self, reason: str) -> None:
        """Restart the context before the next frame, without waiting for the one in work."""
        with self._reset_lock:
            self._reset_reason = reason
        self._statistics.restarted(reason)
        self._info(f'the context restarts: {reason}')

    def process(self, message: Any) -> None:
        """Process one Image or CompressedImage."""
        try:
            self._process(message)
        except UserError as error:
            self._statistics.refused(str(error))
            self._error(f'image refused: {error}')
        # Whatever an engine, a driver or a full device raises must not end the node.
        except Exception as error:
            text = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
            self._statistics.engine_failed(text)
            self._error(f'a frame could not be computed: {text}')

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
        wanted = self._outputs.wanted()
        forecast = self._forecast(wanted)
        computed = time.perf_counter()

        scene = Scene(fitted, camera, to_input, self.depth_scale or 1.0)
        number = 0 if forecast is None else self._outputs.publish(
            wanted, message.header, forecast, scene, self.output_width)
        finished = time.perf_counter()
        timings = {} if forecast is None else {
            stage: value for stage, value in forecast.timings.items() if value}
        timings.update(input=1e3 * (decoded - started), observe=1e3 * (observed - decoded),
                       output=1e3 * (finished - computed), total=1e3 * (finished - started))
        age = (self._clock.now().nanoseconds - _nanoseconds(message.header)) / 1e9
        self._statistics.took(timings)
        if number:
            self._statistics.published(age)
        if self._outputs.info_wanted:
            self._publish_info(message.header, forecast, timings, age)

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
            self._warn(f'the context restarts: {observed.restarted}')
        self._statistics.accepted(observed.fill)

    def _forecast(self, wanted: set[Topic]) -> Forecast | None:
        """Run the graphs, and of the decoder the leads, that the wanted topics need."""
        ahead = {name for lead, name in wanted if lead > 0}
        if ahead and self._forecaster.ready:
            futures = any(name.startswith('future') or name == 'view' for name in ahead)
            forecast = self._forecaster.forecast(
                futures=futures, leads=sorted({lead for lead, _ in wanted}))
        elif any(lead == 0 for lead, _ in wanted):
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
            self._error(self.camera_problem)
            return None
        return camera

    def _publish_info(self, header: Header, forecast: Forecast | None,
                      timings: dict[str, float], age: float) -> None:
        stamp = header.stamp
        self._outputs.publish_info(String(data=json.dumps({
            'stamp': {'sec': stamp.sec, 'nanosec': stamp.nanosec},
            'frame_id': header.frame_id,
            'leads': [] if forecast is None else list(forecast.leads),
            'weights': [] if forecast is None else [
                round(float(value), 6) for value in forecast.weights],
            'context_stamps': [] if forecast is None else [
                round(value, 6) for value in forecast.context_stamps],
            'bundle': self._manifest.name,
            'engine': self._engine_name,
            'depth_scale': self.depth_scale,
            'timings_ms': {stage: round(value, 3) for stage, value in timings.items()},
            'age': round(age, 6),
        })))


def _nanoseconds(header: Header) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


@lru_cache(maxsize=4)
def _fit_to_input(decoded: tuple[int, int], camera: tuple[int, int], target: tuple[int, int],
                  mode: str) -> tuple[ImageFit, Matrix]:
    """Give the fit of a decoded image, and the matrix from the camera's pixels to the input's."""
    fit = ImageFit(*decoded, *target, mode)
    # The decoder may have halved the image; the camera's pixels are those of the full one.
    return fit, fit.intrinsics(resize_matrix(decoded[0] / camera[0], decoded[1] / camera[1]))
