# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what the node costs beside its graphs: decode, fit, select, resize, publish.

Images of 1280x720 go through the node's own processing, in this process; another process
subscribes over DDS. The time inside the engine's three graphs is subtracted from each frame. By
default the graphs are small ones with the sizes of `street-lite0` (inputs, tokens, samples, maps).
With `--score` it measures the processor time that the self-score adds to a frame instead.

    python benchmarks/node_overhead.py
    python benchmarks/node_overhead.py --bundle street-lite0
    python benchmarks/node_overhead.py --bundle street-lite0 --score
"""

from __future__ import annotations

import argparse
import array
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from deltaworld_ros.bundle import Bundle, Manifest, load_bundle
from deltaworld_ros.camera.intrinsics import read_camera
from deltaworld_ros.engine import Engine, load_engine
from deltaworld_ros.evaluate.timed_engine import TimedEngine
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.forecast.frame_gate import Verdict
from deltaworld_ros.forecast.lead_name import lead_name
from deltaworld_ros.node.frame_processor import FrameProcessor
from deltaworld_ros.node.mailbox import Batch, WaitingFrame
from deltaworld_ros.node.messages import image_message
from deltaworld_ros.node.outputs import output_table
from deltaworld_ros.node.publishers import ForecastPublishers
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.throttled_log import ThrottledLog

WIDTH, HEIGHT = 1280, 720
FUSED = ('segmentation', 'depth', 'confidence', 'camera_info')
FUTURES = ('futures/segmentation', 'futures/depth')


class KeptTimings(Statistics):
    """Statistics that keep each frame's times."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[dict[str, float]] = []

    def took(self, timings: Mapping[str, float]) -> None:
        self.frames.append(dict(timings))


def topics(leads: tuple[float, ...], names: tuple[str, ...]) -> list[str]:
    """List the topics of these leads that have these names."""
    return [f'/overhead/{lead_name(seconds)}/{name}'
            for seconds in leads for name in names
            if seconds > 0 or name in ('segmentation', 'depth', 'camera_info', 'view')]


def listen(names: list[str]) -> None:
    """Subscribe to topics until interrupted."""
    rclpy.init()
    node = rclpy.create_node('listener')
    for name in names:
        kind = CameraInfo if name.endswith('camera_info') else Image
        node.create_subscription(kind, name, lambda message: None, 5, raw=True)
    node.create_subscription(String, '/overhead/forecast_info', lambda message: None, 5)
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass


def make_messages() -> dict[str, list[Image] | list[CompressedImage]]:
    """Make a few frames of a moving scene, raw and as JPEG."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 255, (60, 120, 3), np.uint8), (WIDTH + 64, HEIGHT),
                      interpolation=cv2.INTER_CUBIC)
    frames = [np.ascontiguousarray(wide[:, 8 * n:8 * n + WIDTH]) for n in range(8)]
    header = CameraInfo().header
    return {
        'raw bgr8': [image_message(header, frame, 'bgr8') for frame in frames],
        'JPEG': [CompressedImage(format='jpeg', data=array.array('B', bytes(
            cv2.imencode('.jpg', frame, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]))) for frame in frames],
    }


@contextmanager
def listened_outputs(node: LifecycleNode, manifest: Manifest, wanted: list[str],
                     ) -> Iterator[ForecastPublishers]:
    """Publish while another process listens to the wanted topics and to forecast_info."""
    outputs = ForecastPublishers(
        node, output_table(manifest.num_futures, False, True), manifest.leads)
    node.trigger_configure()
    node.trigger_activate()
    listener = subprocess.Popen([sys.executable, str(Path(__file__)), '--listen', *wanted])
    try:
        while len(outputs.wanted()) < len(wanted) + 1:
            time.sleep(0.05)
        yield outputs
    finally:
        listener.terminate()
        listener.wait()
        node.trigger_deactivate()
        node.trigger_cleanup()
        outputs.destroy()


def stamped(messages: Sequence[Image | CompressedImage], frames: int, period: float,
            ) -> Iterator[tuple[Image | CompressedImage, int]]:
    """Yield as many messages, one every `period` s from now on, each with its stamp (ns)."""
    stamp = time.time_ns()
    for number in range(frames):
        message = messages[number % len(messages)]
        stamp += round(period * 1e9)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        yield message, stamp


def measure(node: LifecycleNode, bundle: Bundle, title: str, wanted: list[str],
            frames: int) -> None:
    """Print the overhead for listeners to the wanted topics."""
    manifest = bundle.manifest
    engine = TimedEngine(load_engine(bundle))
    with listened_outputs(node, manifest, wanted) as outputs:
        for kind, messages in make_messages().items():
            statistics = KeptTimings()
            processor = make_processor(node, manifest, engine, outputs, statistics)
            overhead, received = [], []
            for original, stamp in stamped(messages, frames, manifest.stride):
                data = serialize_message(original)
                started = time.perf_counter()
                message = deserialize_message(data, type(original))
                received.append(1e3 * (time.perf_counter() - started))
                before = sum(engine.seconds.values())
                started = time.perf_counter()
                processor.process(Batch(Verdict(), [WaitingFrame(message, stamp)]))
                in_graphs = sum(engine.seconds.values()) - before
                overhead.append(1e3 * (time.perf_counter() - started - in_graphs))
                time.sleep(0.03)
            warm = 2 * manifest.context_length
            stages = {stage: np.median([frame[stage] for frame in statistics.frames[warm:]])
                      for stage in ('input', 'select', 'output')}
            print(f'{kind}, {title} ({len(wanted)} topics):\n'
                  f'    overhead {np.median(overhead[warm:]):.2f} ms median, '
                  f'{np.percentile(overhead[warm:], 95):.2f} ms p95; of the median: '
                  f'decode and fit {stages["input"]:.2f}, select {stages["select"]:.2f}, '
                  f'resize and publish {stages["output"]:.2f}; rclpy takes '
                  f'{np.median(received):.2f} ms more to make the message')


def make_processor(node: LifecycleNode, manifest: Manifest, engine: Engine,
                   outputs: ForecastPublishers, statistics: Statistics) -> FrameProcessor:
    """Make what the node processes frames with."""
    processor = FrameProcessor(
        Forecaster(engine, manifest), manifest, 'benchmark', outputs, statistics,
        node.get_clock(), ThrottledLog(node.get_logger()), fit='crop', output_width=320)
    processor.camera = read_camera(CameraInfo(
        width=WIDTH, height=HEIGHT, k=[900., 0., 639.5, 0., 900., 359.5, 0., 0., 1.]))
    return processor


def measure_score(node: LifecycleNode, bundle: Bundle, wanted: list[str], frames: int) -> None:
    """Print the processor time that the self-score adds to frames at 10 Hz, graphs included."""
    manifest = bundle.manifest
    engine = load_engine(bundle)
    with listened_outputs(node, manifest, wanted) as outputs:
        messages = make_messages()['raw bgr8']
        ways = [make_processor(node, manifest, engine, outputs, KeptTimings()) for _ in range(2)]
        ways[1].score.watched = True
        # The same frames one way and the other in turn, so that both see the same machine.
        took: list[list[float]] = [[], []]
        for number, (message, stamp) in enumerate(stamped(messages, frames, 0.1)):
            for way in (0, 1) if number % 2 else (1, 0):
                started = time.process_time()
                ways[way].process(Batch(Verdict(), [WaitingFrame(message, stamp)]))
                took[way].append(1e3 * (time.process_time() - started))
        # Means: the score works on a few frames of each second only.
        without, with_score = (np.mean(one[20:]) for one in took)
        print(f'self-score ({len(wanted)} topics): {without:.2f} ms of processor time a frame '
              f'without, {with_score:.2f} ms with it: {100 * (with_score / without - 1):+.1f} %, '
              f'{with_score - without:.2f} ms of the 100 ms between two frames')


def main() -> None:
    """Measure for listeners to one lead, to all fused maps, and to everything for machines."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--bundle', help='bundle to run; default: a small one made here')
    parser.add_argument('--frames', type=int, default=150)
    parser.add_argument('--score', action='store_true', help='measure the self-score alone')
    parser.add_argument('--listen', nargs='*', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if arguments.listen is not None:
        listen(arguments.listen)
        return
    with tempfile.TemporaryDirectory() as folder:
        path: str | Path = arguments.bundle
        if not path:
            sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))
            from support.tiny_bundle import write_tiny_bundle

            path = write_tiny_bundle(
                Path(folder) / 'bundle', image_width=320, image_height=192, feature_size=32,
                token_size=384, noise_size=256, queries='kept', num_samples=256, num_futures=6)
        bundle = load_bundle(path)
        cv2.setNumThreads(1)   # as the node does
        rclpy.init()
        node = LifecycleNode('overhead')
        leads = (0.0, *bundle.manifest.leads)
        for title, wanted in {
            'fused maps of the farthest lead': topics(leads[-1:], FUSED),
            'fused maps of all leads': topics(leads, FUSED),
            'fused maps and all futures of all leads': topics(leads, FUSED + FUTURES),
        }.items():
            if not arguments.score:
                measure(node, bundle, title, wanted, arguments.frames)
        if arguments.score:
            measure_score(node, bundle, topics(leads, FUSED), arguments.frames)
        node.destroy_node()
        rclpy.shutdown()


if __name__ == '__main__':
    main()
