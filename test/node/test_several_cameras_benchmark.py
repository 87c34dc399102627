# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The run with several cameras for minutes, for seconds: nothing is missing, doubled or grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
from support.ros_session import ROOT, own_domain

pytestmark = pytest.mark.live


def test_every_accepted_image_of_two_cameras_has_one_output(tiny_bundle: Path) -> None:
    with own_domain() as domain:
        done = subprocess.run(
            [sys.executable, str(ROOT / 'benchmarks/several_cameras_for_minutes.py'),
             '--seconds', '15', '--rate', '5', '--bundle', str(tiny_bundle)],
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    assert not report['faults'] and done.returncode == 0
    first, killed = report['cameras'].values()
    assert first['outputs'] > killed['outputs'] > 0 < first['outputs_while_one_is_dead']
