# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node publishes, to whom, and what it leaves uncomputed, over DDS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from support.ros_session import Client, running, stamp_of_info
from support.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.live

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
FUTURES = 4          # of the tiny bundle
SIZE = (320, 160)    # its maps have the aspect 2:1


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp('outputs')
    bundle = write_tiny_bundle(folder / 'tiny', paints=True)
    with running(folder / 'log', bundle=bundle, autostart=True,
                 publish_each_future=True) as client:
        client.connect()
        yield client


@pytest.fixture
def client(node: Client) -> Iterator[Client]:
    """Yield a client of the one node, which every test leaves without subscriptions."""
    node.connect()   # another test may have left it with images of another frame_id
    yield node
    node.unsubscribe_leads()


def pixels(message: Image) -> np.ndarray:
    dtype = np.float32 if message.encoding.startswith('32F') else np.uint8
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, -1)


def camera_info(client: Client) -> CameraInfo:
    return CameraInfo(
        header=client.header(), width=160, height=120, distortion_model='plumb_bob',
        d=[0.1, 0.0, 0.0, 0.0, 0.0], k=[200., 0., 79.5, 0., 200., 59.5, 0., 0., 1.],
        r=[1., 0., 0., 0., 1., 0., 0., 0., 1.],
        p=[200., 0., 79.5, 0., 0., 200., 59.5, 0., 0., 0., 1., 0.])


def test_nothing_is_decoded_when_nobody_listens(client: Client) -> None:
    client.feed(8)
    values = client.fresh_diagnostics()
    assert values['decoder_runs'] == '0' and int(values['images_accepted']) >= 8
    assert values['context_fill'] == '4 of 4' and 'rollout_p50_ms' not in values
    facts = json.loads(client.infos[-1].data)
    assert facts['leads'] == [] and facts['weights'] == []

    # The present alone needs no rollout.
    present = client.subscribe(Image, 'lead_0ms/view')
    client.feed_until(lambda: present, 'the present')
    values = client.fresh_diagnostics()
    assert int(values['decoder_runs']) > 0 and 'rollout_p50_ms' not in values

    ahead = client.subscribe(Image, 'lead_400ms/depth')
    client.feed_until(lambda: ahead, 'a forecast')
    assert 'rollout_p50_ms' in client.fresh_diagnostics()
    client.unsubscribe_leads()
    # Once the last listener has left, the counter stands still while frames go on.
    counts: list[str] = []

    def at_rest() -> bool:
        client.feed(5)
        counts.append(client.fresh_diagnostics()['decoder_runs'])
        return len(counts) > 1 and counts[-1] == counts[-2]

    client.wait(at_rest, 'rest of the decoder')
    client.feed(10)
    assert client.fresh_diagnostics()['decoder_runs'] == counts[-1]


def test_depth_follows_the_camera_or_says_that_it_does_not(client: Client) -> None:
    depths = client.subscribe(Image, 'lead_0ms/depth')
    infos = client.subscribe(CameraInfo, 'lead_0ms/camera_info')
    client.feed_until(lambda: depths, 'depth')
    unscaled = pixels(depths[-1])
    assert client.fresh_diagnostics()['depth_scale'] == 'unscaled'
    assert 'depth is not scaled to the camera: no camera_info has arrived' \
        in client.diagnostics_text
    assert infos == []
    client.camera_infos.publish(camera_info(client))
    client.feed_until(lambda: infos, 'camera_info of the maps')
    depths.clear()
    client.feed_until(lambda: depths, 'depth')
    np.testing.assert_allclose(pixels(depths[-1]), unscaled * (80 / 64), rtol=1e-5)
    assert client.fresh_diagnostics()['depth_scale'] == '1.2500'
    # Its size tells that this camera_info is of other images.
    other = camera_info(client)
    other.width = 1000
    client.camera_infos.publish(other)
    client.feed_until(lambda: client.process.lines('the image is 160x120'), 'the complaint')
    depths.clear()
    client.feed_until(lambda: depths, 'depth')
    np.testing.assert_allclose(pixels(depths[-1]), unscaled, rtol=1e-5)
    client.fresh_diagnostics()
    assert 'camera_info is for images of 1000x120' in client.diagnostics_text


def test_every_topic(client: Client) -> None:
    expected = {}
    for lead in ('lead_0ms', 'lead_200ms', 'lead_400ms', 'lead_600ms'):
        expected[f'{lead}/segmentation'] = 'mono8'
        expected[f'{lead}/depth'] = '32FC1'
        expected[f'{lead}/view'] = 'rgb8'
        if lead != 'lead_0ms':
            expected[f'{lead}/confidence'] = 'mono8'
            expected[f'{lead}/rgb'] = 'rgb8'
            expected[f'{lead}/futures/segmentation'] = f'8UC{FUTURES}'
            expected[f'{lead}/futures/depth'] = f'32FC{FUTURES}'
            for number in range(FUTURES):
                expected[f'{lead}/future_{number}/segmentation'] = 'mono8'
                expected[f'{lead}/future_{number}/depth'] = '32FC1'
    received = {topic: client.subscribe(Image, topic) for topic in expected}
    infos = client.subscribe(CameraInfo, 'lead_600ms/camera_info')
    client.wait(lambda: client.camera_infos.get_subscription_count() > 0, 'subscription')
    client.camera_infos.publish(camera_info(client))
    client.feed_until(lambda: infos and all(received.values()), 'all topics')
    for messages in (*received.values(), infos):
        messages.clear()
    # Another frame_id, once it lasts, restarts the context.
    client.connect(lambda: client.image(frame_id='left_eye'))
    client.feed(5, frame_id='left_eye')
    stamp = client.stamp
    client.wait(lambda: all(
        messages and header_of(messages[-1]) == (stamp, 'left_eye')
        for messages in (*received.values(), infos)), 'the header of the image on every output')

    topics = {name.removeprefix('/forecast/')
              for name, _ in client.node.get_topic_names_and_types()
              if name.startswith('/forecast/lead_')}
    camera_topics = {f'lead_{ms}ms/camera_info' for ms in (0, 200, 400, 600)}
    clouds = {f'lead_{ms}ms/points' for ms in (0, 200, 400, 600)}
    bounds = {f'lead_{ms}ms/scan_bound' for ms in (200, 400, 600)}
    assert topics == set(expected) | camera_topics | clouds | bounds

    for topic, encoding in expected.items():
        message = received[topic][-1]
        assert message.encoding == encoding, topic
        if encoding != 'rgb8':
            assert (message.width, message.height) == SIZE, topic
        assert len(message.data) == message.step * message.height
    # The futures' stack holds what the topics of each future hold.
    for kind in ('segmentation', 'depth'):
        stack = pixels(received[f'lead_600ms/futures/{kind}'][-1])
        for number in range(FUTURES):
            single = pixels(received[f'lead_600ms/future_{number}/{kind}'][-1])[..., 0]
            np.testing.assert_allclose(stack[..., number], single, rtol=1e-6)
    # Blue above (sky, 2) and grey below (road, 0), as the frame that was sent.
    present = pixels(received['lead_0ms/segmentation'][-1])[..., 0]
    assert present[20, 160] == 2 and present[140, 160] == 0
    # Painted at the size of the graphs' input, in about the colours that were sent.
    painted = pixels(received['lead_600ms/rgb'][-1]).astype(int)
    assert painted.shape == (32, 64, 3)
    assert painted[4, 32, 2] > painted[4, 32, 0] + 20
    assert np.abs(painted[4, 32] - painted[28, 32]).max() > 20
    # A share of agreement times 255; where all futures agree it is 255.
    confidence = pixels(received['lead_200ms/confidence'][-1])
    assert confidence.max() == 255

    # Crop 160x120 to 160x80, then 2 pixels of the maps for each of the camera's.
    info = infos[-1]
    assert (info.width, info.height) == SIZE
    assert info.k[0] == pytest.approx(400) and info.k[4] == pytest.approx(400)
    assert info.k[2] == pytest.approx(159.5) and info.k[5] == pytest.approx(79.5)
    assert info.p[0] == pytest.approx(400) and info.d[0] == 0.1
    # Focal length 80 at the graph's width of 64, the bundle's canonical one is 64.
    facts = json.loads(client.infos[-1].data)
    assert facts['depth_scale'] == pytest.approx(80 / 64)
    assert facts['leads'] == [0.0, 0.2, 0.4, 0.6] and facts['bundle'] == 'tiny'
    assert sum(facts['weights']) == pytest.approx(1, abs=1e-5)
    assert sorted(facts['weights'], reverse=True) == facts['weights']
    assert len(facts['context_stamps']) == 4
    assert facts['context_stamps'][-1] == pytest.approx(stamp * 1e-9, abs=1e-5)
    assert {'observe', 'rollout', 'select', 'decode', 'paint', 'input', 'output', 'total'} == set(
        facts['timings_ms'])
    assert 'onnxruntime' in facts['engine'] and facts['age'] > 0
    depth = pixels(received['lead_0ms/depth'][-1])
    known = depth[np.isfinite(depth)]
    assert known.min() >= 2.0 * 80 / 64 and known.max() <= 42.0 * 80 / 64
    # The sky is too far to measure (REP 117).
    assert (depth[20, 160] == np.inf).all() and np.isfinite(depth[140, 160]).all()


def header_of(message: Any) -> tuple[int, str]:
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec, message.header.frame_id


def test_one_output_for_each_input_to_every_kind_of_subscriber(client: Client) -> None:
    reliable = client.subscribe(Image, 'lead_600ms/segmentation')
    best_effort = client.subscribe(Image, 'lead_600ms/segmentation', qos_profile_sensor_data)
    present = client.subscribe(Image, 'lead_0ms/depth')
    client.feed_until(lambda: reliable and best_effort and present, 'first outputs')

    def feed_one() -> None:
        client.feed()
        client.wait(lambda: all(
            messages and header_of(messages[-1])[0] == client.stamp
            for messages in (reliable, best_effort, present))
            and client.infos and stamp_of_info(client.infos[-1]) == client.stamp,
            'outputs of one image')

    feed_one()  # nothing of the images before is on its way any more
    for messages in (reliable, best_effort, present, client.infos):
        messages.clear()
    sent = []
    for _ in range(25):
        feed_one()
        sent.append(client.stamp)
    for messages in (reliable, best_effort, present):
        assert [header_of(message)[0] for message in messages] == sent
    assert [stamp_of_info(info) for info in client.infos] == sent
    values = client.fresh_diagnostics()
    assert values['images_dropped'] == '0' and values['messages_refused'] == '0'
    assert int(values['images_accepted']) + int(values['images_odd']) == \
        int(values['images_received'])


def test_a_late_joiner_gets_the_labels(client: Client) -> None:
    client.feed(3)
    labels = client.subscribe(String, 'label_info', LATCHED)
    client.wait(lambda: labels, 'the labels')
    classes = json.loads(labels[0].data)['classes']
    assert [entry['name'] for entry in classes] == ['road', 'vegetation', 'sky', 'vehicle']
    assert [entry['role'] for entry in classes] == [
        'traversable', 'static', 'traversable', 'dynamic']


def test_only_the_present_until_the_context_is_full(client: Client) -> None:
    present = client.subscribe(Image, 'lead_0ms/segmentation')
    ahead = client.subscribe(Image, 'lead_200ms/segmentation')
    client.feed_until(lambda: present and ahead, 'first outputs')
    client.wait(lambda: all(header_of(maps[-1])[0] == client.stamp for maps in (present, ahead)),
                'outputs of the last image')
    client.reset_context()
    present.clear()
    ahead.clear()
    client.feed(3)
    client.wait(lambda: len(present) == 3, 'maps of the present')
    leads = [json.loads(info.data)['leads'] for info in client.infos[-3:]]
    assert leads == [[0.0]] * 3 and ahead == []
    client.feed()
    client.wait(lambda: len(present) == 4 and len(ahead) == 1, 'the first forecast')


def test_rectified_images_are_scaled_by_p(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True, rectified=True) as node:
        node.connect()
        info = camera_info(node)
        info.p[0] = info.p[5] = 160.
        node.wait(lambda: node.camera_infos.get_subscription_count() > 0, 'subscription')
        node.camera_infos.publish(info)
        node.feed_until(lambda: node.infos and json.loads(node.infos[-1].data)['depth_scale'],
                        'a scale')
        assert json.loads(node.infos[-1].data)['depth_scale'] == pytest.approx(64 / 64)
