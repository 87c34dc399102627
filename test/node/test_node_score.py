# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's score of itself, over DDS: what it says, and that it costs nothing unasked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import String
from support.ros_session import STRIDE_NS, Client, running

from deltaworld_ros.node.messages import image_message

pytestmark = pytest.mark.live


def feed_fading(client: Client, frames: int, levels: list[int]) -> None:
    """Send the picture with the next level of brightness, then the one after, and so on."""
    for number in range(frames):
        client.stamp += STRIDE_NS
        pixels = np.full((120, 160, 3), levels[number % len(levels)], np.uint8)
        # Sky and vegetation: the noise of the samples is enough to colour grey.
        pixels[:60, :, 2] += 100
        pixels[60:, :, 1] += 100
        client.send(image_message(client.header(), pixels, 'rgb8'))


def set_limit(client: Client, value: float) -> None:
    number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    answer = client.call(SetParameters, 'set_parameters',
                         parameters=[Parameter(name='skill_warn', value=number)])
    assert answer.results[0].successful


def test_the_node_scores_its_forecasts(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True) as client:
        client.connect()
        feed_fading(client, 12, [90])
        assert client.fresh_diagnostics()['decoder_runs'] == '0'

        # Nobody listens, but a limit is set: 0.2 s a frame, one forecast of five is kept.
        set_limit(client, 0.0)
        feed_fading(client, 36, [90])
        values = client.fresh_diagnostics()
        # The classes of a picture that does not change are forecast; its colours drift a little.
        assert values['skill_600ms_classes'] == '0.000' > values['skill_600ms_features']
        assert int(values['scored_forecasts_600ms']) >= 5
        # Kept forecasts and the frames of their leads: no other frame is decoded.
        assert 12 <= int(values['decoder_runs']) <= 32
        assert 'score_p50_ms' in values

        scores = client.subscribe(String, 'score')
        client.wait(lambda: client.node.count_publishers('/forecast/score') == 1, 'the topic')
        # A steady fade is what the tiny bundle forecasts; the frames go back to dark at once.
        for _ in range(6):
            feed_fading(client, 12, list(range(40, 160, 10)))
        client.wait(lambda: scores, 'a score')
        score = json.loads(scores[-1].data)
        assert score['bundle'] == 'tiny' and score['frame_id'] == 'camera'
        assert set(score['leads']) == {'0.2', '0.4', '0.6'}
        near = score['leads']['0.2']
        assert set(near) == {'forecasts', 'features', 'classes', 'depth'}
        for metric in ('features', 'depth'):
            one = near[metric]
            assert one['skill'] == pytest.approx(1 - one['error'] / one['copy_last'], abs=2e-3)

        # Light that changes its mind every second frame is forecast badly.
        feed_fading(client, 60, [60, 60, 100, 100])
        values = client.fresh_diagnostics()
        assert float(values['skill_600ms_features']) < 0
        assert client.diagnostics_level == 1
        assert 'the skill of forecasts 0.6 s ahead is -' in client.diagnostics_text
        set_limit(client, -1.0)
        client.fresh_diagnostics()
        assert 'skill' not in client.diagnostics_text


def test_the_score_can_be_switched_off(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True, self_score=False,
                 skill_warn=0.5) as client:
        client.connect()
        feed_fading(client, 12, [90])
        assert client.fresh_diagnostics()['decoder_runs'] == '0'
        assert client.node.count_publishers('/forecast/score') == 0
