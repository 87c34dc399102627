# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The programs are interrupted while they start and while they run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
from support.ros_session import ROOT

RECORDED = ['--leads', '0.6', '--image-topic', '/image', '--output', 'recording']


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('seconds', [0.3, 0.6, 0.9])
@pytest.mark.parametrize('program', ['speed_governor', 'recorder'])
def test_an_interrupt_at_start_is_orderly(
        program: str, number: signal.Signals, seconds: float, tmp_path: Path) -> None:
    arguments = RECORDED if program == 'recorder' else []
    process = subprocess.Popen(
        [sys.executable, '-m', f'deltaworld_ros.node.{program}', *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
    time.sleep(seconds)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    # Before Python itself has started, a signal ends it as any program; a recorder has no scores.
    assert process.returncode in (0, -number, *([1] if program == 'recorder' else []))
    assert 'Traceback' not in output, output


@pytest.mark.parametrize('number', ['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('when', ['before', 'after'])
def test_interrupt_before_the_recorder_listens_is_one_line(
        when: str, number: str, tmp_path: Path) -> None:
    program = f"""
import os, signal, sys, time, rclpy
from deltaworld_ros.node import recorder_node

def interrupt():
    os.kill(os.getpid(), signal.{number})
    while rclpy.ok():
        time.sleep(0.01)

class Interrupted(recorder_node.RecorderNode):
    def __init__(self, *arguments):
        if {when == 'before'}:
            interrupt()
        super().__init__(*arguments)
        interrupt()

recorder_node.RecorderNode = Interrupted
sys.exit(recorder_node.main({RECORDED}))
"""
    ended = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, check=False)
    assert ended.returncode == 1 and 'Traceback' not in ended.stderr, ended.stderr
    assert 'error' in json.loads(ended.stdout)


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
