# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the live node publishes of the sample bag is what the offline evaluation scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from support.ros_session import Client, running
from support.tiny_bundle import write_tiny_bundle

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.messages import CameraMessages, read_stamp
from deltaworld_ros.bags.reader import CAMERA_INFO
from deltaworld_ros.bundle import Manifest, load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.evaluate.columns import ColumnMaker
from deltaworld_ros.evaluate.demo import SAMPLE_BAG
from deltaworld_ros.evaluate.drive import Drive, Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.forecast.obstacle_bound import ObstacleBound
from deltaworld_ros.planning.pose import mount_of_text
from deltaworld_ros.planning.scan import column_points, scan_points

pytestmark = pytest.mark.live

SECONDS = 2.8
SKY = 2
LEADS = (0, 200, 400, 600)
MOUNT = '0 0 1.5 0 0 0'


def offline(folder: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return labels and depth (S+1, a, b) of each scored forecast by its stamp."""
    bundle = load_bundle(folder)
    engine = load_engine(bundle, 'onnxruntime', threads=1)
    maker = ColumnMaker(engine, bundle.manifest, None, bundle.manifest.leads)
    found = {}
    with BagFrames(SAMPLE_BAG) as bag:
        drive = Drive(engine, bundle, maker, bag, Options(end=SECONDS))
        for matched in drive.pairs():
            maps, scale = matched.forecast.sampled.maps, matched.forecast.now.scale
            labels = maps['fused_labels']
            found[matched.stamp] = labels, np.where(
                labels == SKY, np.inf, np.float32(scale) * maps['fused_depth'])
    engine.close()
    return found


def offline_bounds(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], np.ndarray]:
    """Return by stamp and lead the bounds (b,) whose coverage `evaluate` tells."""
    made: list[np.ndarray | None] = []
    plain = ObstacleBound.bound

    def bound(self: ObstacleBound, forecast: np.ndarray) -> np.ndarray | None:
        made.append(plain(self, forecast))
        return made[-1]
    bundle = load_bundle(folder)
    engine = load_engine(bundle, 'onnxruntime', threads=1)
    with monkeypatch.context() as patch, BagFrames(SAMPLE_BAG) as bag:
        patch.setattr(ObstacleBound, 'bound', bound)
        scores = Evaluator(engine, bundle, Options(end=SECONDS)).run(bag)
    engine.close()
    places = [(record['stamp'], lead) for record in scores.records for lead in LEADS[1:]]
    return {place: lower for place, lower in zip(places, made, strict=True)
            if lower is not None}


def assert_scans_show(bounds: dict[tuple[int, int], np.ndarray], manifest: Manifest,
                      scans: dict[int, list[LaserScan]], camera: CameraInfo) -> None:
    """Every bound is published, as a camera sees it that stands still."""
    mount, intrinsics = mount_of_text(MOUNT), np.array(camera.k).reshape(3, 3)
    published = {(stamp_of(message), lead): message
                 for lead, messages in scans.items() for message in messages}
    assert any(lower.min() < manifest.depth_maximum for lower in bounds.values())
    for (stamp, lead), lower in bounds.items():
        points = column_points(
            np.where(lower < manifest.depth_maximum, lower, np.nan), intrinsics, mount)
        expected = scan_points(points, mount, intrinsics, manifest.map_width)
        np.testing.assert_allclose(published[stamp, lead].ranges, expected.ranges, rtol=1e-5)


def collect(client: Client) -> dict[str, list[Image]]:
    return {f'lead_{lead}ms/{kind}': client.subscribe(Image, f'lead_{lead}ms/{kind}', 50)
            for lead in LEADS for kind in ('segmentation', 'depth')}


def stamp_of(message: Image) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def test_live_forecasts_equal_those_of_the_evaluation(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tiny_bundle(tmp_path / 'bundle', image_width=320, image_height=192)
    expected = offline(folder)
    bounds = offline_bounds(folder, monkeypatch)
    assert len(expected) >= 5 and {lead for _, lead in bounds} == {200, 400, 600}
    manifest = load_bundle(folder).manifest
    with running(tmp_path / 'log', compressed=True, bundle=folder, autostart=True, threads=1,
                 engine='onnxruntime', output_width=manifest.map_width,
                 camera_pose=f'"{MOUNT}"') as client:
        client.wait(lambda: client.images.get_subscription_count() > 0 and
                    client.camera_infos.get_subscription_count() > 0, 'the subscriptions')
        topics = collect(client)
        scans = {lead: client.subscribe(LaserScan, f'lead_{lead}ms/scan_bound', 50)
                 for lead in LEADS[1:]}
        cameras = client.subscribe(CameraInfo, 'lead_0ms/camera_info', 50)
        client.wait(lambda: all(client.node.count_publishers(f'/forecast/{name}')
                                for name in [*topics, 'lead_600ms/scan_bound']), 'the topics')
        last, sent = max(expected), False
        with CameraMessages(SAMPLE_BAG) as bag:
            for message in bag:
                stamp = read_stamp(message.data)
                if stamp > last:
                    break
                if message.kind == CAMERA_INFO:
                    client.camera_infos.publish(message.data)
                    # The first image must not overtake it.
                    client.spin(lambda: False, 0.0 if sent else 1.0)
                    sent = True
                    continue
                client.images.publish(message.data)
                client.wait(lambda stamp=stamp: client.acknowledged(stamp), 'answer to an image')
        client.wait(lambda: all(messages and stamp_of(messages[-1]) == last
                                for messages in (*topics.values(), *scans.values())),
                    'the last maps')
    assert_scans_show(bounds, manifest, scans, cameras[-1])
    compared = 0
    for name, messages in topics.items():
        lead = LEADS.index(int(name.split('ms')[0].removeprefix('lead_')))
        for message in messages:
            if stamp_of(message) not in expected:
                continue   # before the context was whole
            labels, depth = expected[stamp_of(message)]
            if name.endswith('segmentation'):
                seen = np.frombuffer(message.data, np.uint8).reshape(labels.shape[1:])
                np.testing.assert_array_equal(seen, labels[lead])
            else:
                metres = np.frombuffer(message.data, np.float32).reshape(depth.shape[1:])
                known = np.isfinite(metres)
                np.testing.assert_allclose(metres[known], depth[lead][known], rtol=1e-5)
                assert (np.isinf(metres) == np.isinf(depth[lead])).all()
            compared += 1
    # Forecasts made before a subscription was connected are missing, no others.
    assert compared >= 0.6 * len(expected) * len(topics)
