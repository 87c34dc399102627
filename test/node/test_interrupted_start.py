# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The programs are interrupted while they start and while they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('rclpy')
from support.ros_session import ROOT


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('seconds', [0.3, 0.6, 0.9])
def test_an_interrupt_of_the_governor_at_start_is_orderly(
        number: signal.Signals, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'deltaworld_ros.node.speed_governor'], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
    time.sleep(seconds)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    # Before Python itself has started, a signal ends it as any program.
    assert process.returncode in (0, -number) and 'Traceback' not in output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupt_of_the_running_node_ends_it_in_order(number: signal.Signals) -> None:
    with subprocess.Popen(
            [sys.executable, '-m', 'deltaworld_ros.node.start'], text=True,
            stderr=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)}) as process:
        assert process.stderr is not None
        assert any('unconfigured: run' in line for line in process.stderr)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(60) == 0
    assert 'while it loaded' not in rest and 'Traceback' not in rest


@pytest.mark.parametrize('number', ['SIGINT', 'SIGTERM'])
def test_interrupt_before_the_node_listens_ends_it_in_order(number: str) -> None:
    """It comes when the node is made and nothing has been received yet."""
    program = f"""
import os, signal, sys, time
from rclpy.node import Node
from deltaworld_ros.node.run import run_node

def interrupted(node):
    os.kill(os.getpid(), signal.{number})
    while node.context.ok():
        time.sleep(0.01)

sys.exit(run_node('some_node', '', (), lambda: Node('some_node'), [], interrupted))
"""
    ended = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, check=False)
    assert ended.returncode == 0 and 'Traceback' not in ended.stderr, ended.stderr
