# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Watch forecasts move without ROS: a recording is forecast and served to Foxglove."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import Bundle, Manifest
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.engine import Engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster
from deltaworld_ros.forecast.lead_name import lead_name
from deltaworld_ros.forecast.metres import in_metres
from deltaworld_ros.forecast.view import (
    Picture,
    color_depth,
    color_labels,
    colored_range,
    forecast_view,
)

IMAGE_TOPIC = '/camera/image'
KINDS = ('view', 'segmentation', 'depth')
TILE_WIDTH = 320   # pixels of one tile of a mosaic
_POLL = 0.05
# Longer ones (ns) are left out: a misdated image must not hold up those that follow.
_MAX_PAUSE = 10_000_000_000


class PictureServer:
    """
    Serves pictures on the node's topics, `/forecast/lead_600ms/view` and so on, by WebSocket.

    Raise `UserError` where the Foxglove SDK is missing or the port is taken; port 0 takes any.
    """

    def __init__(self, manifest: Manifest, port: int) -> None:
        try:
            import foxglove
            from foxglove.channels import RawImageChannel
        except ImportError:
            raise UserError('the live view needs the Foxglove SDK: '
                            'pip install "deltaworld_ros[view]"') from None
        # Channels end with their context.
        self._context = context = foxglove.Context()
        topics = [IMAGE_TOPIC, *(
            f'/forecast/{lead_name(lead)}/{kind}'
            for lead in (0.0, *manifest.leads) for kind in KINDS)]
        self._channels: dict[str, Any] = {
            topic: RawImageChannel(topic, context=context) for topic in topics}
        self._message: Any = foxglove.messages
        try:
            self._server = foxglove.start_server(
                name='deltaworld', port=port, context=context, message_backlog_size=16)
        except (OSError, RuntimeError) as error:
            raise UserError(f'port {port}: cannot be served on: {error}') from None
        self.address = f'ws://127.0.0.1:{self._server.port}'

    def __enter__(self) -> PictureServer:
        """Return the server, which is up already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Stop the server."""
        self._server.stop()

    @property
    def watched(self) -> set[str]:
        """Return the topics that somebody looks at."""
        return {topic for topic, channel in self._channels.items() if channel.has_sinks()}

    def show(self, topic: str, picture: Picture, stamp_ns: int, frame_id: str) -> None:
        """Send a picture (h, w, 3) RGB of a stamp."""
        height, width = picture.shape[:2]
        stamp_ns = max(0, stamp_ns)   # Foxglove knows no time before 1970
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        self._channels[topic].log(self._message.RawImage(
            timestamp=self._message.Timestamp(sec=seconds, nsec=nanoseconds), frame_id=frame_id,
            width=width, height=height, encoding='rgb8', step=3 * width,
            data=picture.tobytes()), log_time=stamp_ns)


def show_bag(bag: Path, bundle: Bundle, engine: Engine, server: PictureServer, *,
             rate: float = 1.0, loop: bool = False, image: str | None = None,
             advance: Callable[[], None] = lambda: None) -> None:
    """
    Forecast a recording at `rate` times its speed, or as fast as this machine can, and show it.

    It begins with the first viewer and computes only what somebody looks at.
    """
    while not server.watched:
        time.sleep(_POLL)
    while True:
        _play(bag, bundle, engine, server, rate, image, advance)
        if not loop:
            return


def _play(bag: Path, bundle: Bundle, engine: Engine, server: PictureServer, rate: float,
          image: str | None, advance: Callable[[], None]) -> None:
    manifest = bundle.manifest
    forecaster = Forecaster(engine, manifest)
    started, first, last = 0.0, 0, None
    with BagFrames(bag, image=image) as frames:
        for frame in frames:
            height, width = frame.image.shape[:2]
            fitted = ImageFit(width, height, manifest.image_width, manifest.image_height).apply(
                frame.image)
            observed = forecaster.observe(
                fitted, frame.stamp, source=(frame.image.shape, frame.frame_id))
            advance()
            if observed.verdict.odd:
                continue
            # The clock of the recording may have been set, back or ahead.
            if last is None or not 0 <= frame.stamp - last <= _MAX_PAUSE:
                started, first = time.monotonic(), frame.stamp
            last = frame.stamp
            due = started + (frame.stamp - first) / 1e9 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            watched = server.watched
            if IMAGE_TOPIC in watched:
                server.show(IMAGE_TOPIC, frame.image, frame.stamp, frame.frame_id)
            if watched - {IMAGE_TOPIC}:
                forecast = forecaster.forecast() if forecaster.ready else forecaster.present()
                for topic, picture in _pictures(forecast, manifest, fitted, watched).items():
                    server.show(topic, picture, frame.stamp, frame.frame_id)


def _pictures(forecast: Forecast, manifest: Manifest, image: Picture, watched: set[str],
              ) -> dict[str, Picture]:
    """Return the pictures of a forecast that somebody looks at, by topic."""
    forecast = in_metres(forecast, manifest, 1.0)
    depth_range = colored_range(manifest.depth_minimum, manifest.depth_maximum)
    size = TILE_WIDTH, round(TILE_WIDTH * manifest.image_height / manifest.image_width)
    makers: dict[str, Callable[[int], Picture]] = {
        'view': lambda lead: forecast_view(
            forecast, lead, manifest.classes, depth_range, image, size),
        'segmentation': lambda lead: color_labels(forecast.fused_labels[lead], manifest.classes),
        'depth': lambda lead: color_depth(forecast.fused_depth[lead], *depth_range)}
    return {topic: make(lead)
            for lead, seconds in enumerate(forecast.leads) for kind, make in makers.items()
            if (topic := f'/forecast/{lead_name(seconds)}/{kind}') in watched}
