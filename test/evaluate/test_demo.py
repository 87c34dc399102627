# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`deltaworld demo` from end to end: replay, node and recorder in processes over real DDS."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.bags import write_drive
from support.tiny_bundle import fading_frames, write_tiny_bundle

from deltaworld_ros.bundle import load_bundle, write_manifest
from deltaworld_ros.evaluate.moments import MomentKeeper
from deltaworld_ros.evaluate.processes import Processes

pytestmark = pytest.mark.live

MARK = 'DELTAWORLD_TEST_MARK'
STUBBORN = 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); ' \
           'signal.signal(signal.SIGTERM, signal.SIG_IGN); print("ready"); time.sleep(60)'


def start_demo(*arguments: str) -> tuple[subprocess.Popen, str]:
    """Start the command; its mark is in the environment of all of its children."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, '-m', 'deltaworld_ros.cli', 'demo', *arguments],
        env={**os.environ, MARK: mark, 'OMP_NUM_THREADS': '1'}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A job in the background ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    return process, mark


def left_with(mark: str) -> list[int]:
    """Find the processes that carry a mark, once those that were killed have had time to go."""
    deadline = time.monotonic() + 5
    while (found := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def processes_with(mark: str) -> list[int]:
    """Find the processes that carry a mark in their environment."""
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / 'environ').read_bytes()
            except OSError:
                continue
            if f'{MARK}={mark}'.encode() in environment:
                found.append(int(folder.name))
    return found


def test_demo_from_end_to_end(tiny_bundle: Path, tmp_path: Path):
    manifest = load_bundle(tiny_bundle).manifest
    first = fading_frames(manifest, 1).astype(int)
    frames = np.clip(first + 3 * np.arange(40)[:, None, None, None], 0, 255).astype(np.uint8)
    bag = write_drive(tmp_path / 'drive', frames, interval=0.1, compressed=True,
                      focal_length=manifest.focal_length, camera='/device_0/0/RGB Camera')
    output = tmp_path / 'output'
    process, mark = start_demo('--bag', str(bag), '--bundle', str(tiny_bundle), '--output',
                               str(output), '--json', str(tmp_path / 'copy.json'))
    printed, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    assert left_with(mark) == []
    assert '0.6 s ahead' in printed and 'copy-last' in printed

    summary = json.loads((output / 'summary.json').read_text())
    assert summary == json.loads((tmp_path / 'copy.json').read_text())
    assert summary['bundle'] == 'tiny'
    assert 40 >= summary['images'] >= summary['forecasts'] >= 10
    assert 0 <= summary['dropped'] < 20
    assert 2 < summary['rate_hz'] < 15
    assert 0 < summary['latency_ms']['p50'] <= summary['latency_ms']['p95']
    assert list(summary['leads']) == ['0.2', '0.4', '0.6']
    last = summary['leads']['0.6']
    assert set(last['miou']) == set(last['depth_absrel']) == \
        {'fused', 'best_of_k', 'copy_last'}
    # The tiny bundle forecasts that the fading goes on: brighter is farther, so depth shows it.
    assert last['depth_absrel']['fused'] < last['depth_absrel']['copy_last']

    report = (output / 'report.html').read_text()
    assert report.count('data:image/') > 30
    assert not re.search(r'(src|href)="(?!data:)', report)  # nothing from outside the file
    for text in ('What will this camera see next?', 'The 4 futures', 'Last frame seen'):
        assert text in report
    with Image.open(output / 'forecast.webp') as animation:
        assert animation.n_frames >= 5
    assert (output / 'forecast.webp').stat().st_size < 5_000_000


def test_a_drive_without_forecasts_is_a_clear_failure(tiny_bundle: Path, tmp_path: Path):
    frames = fading_frames(load_bundle(tiny_bundle).manifest, 4)
    bag = write_drive(tmp_path / 'drive', frames, interval=0.1)
    process, mark = start_demo('--bag', str(bag), '--bundle', str(tiny_bundle), '--output',
                               str(tmp_path / 'output'))
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 1
    assert 'no forecast could be scored: 4 images were heard' in errors
    assert '`deltaworld evaluate`' in ' '.join(errors.split())
    assert 'Traceback' not in errors
    assert left_with(mark) == []


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_every_process(tiny_bundle: Path, tmp_path: Path, number: int):
    frames = np.repeat(fading_frames(load_bundle(tiny_bundle).manifest, 1), 100, axis=0)
    bag = write_drive(tmp_path / 'drive', frames, interval=0.1)
    process, mark = start_demo('--bag', str(bag), '--bundle', str(tiny_bundle), '--output',
                               str(tmp_path / 'output'))
    deadline = time.monotonic() + 60
    while len(processes_with(mark)) < 4 and time.monotonic() < deadline:
        time.sleep(0.2)  # the demo and its three children
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert 'Traceback' not in errors
    assert left_with(mark) == []


def test_a_node_that_dies_is_told_with_its_last_words(tiny_bundle: Path, tmp_path: Path):
    frames = fading_frames(load_bundle(tiny_bundle).manifest, 10)
    bag = write_drive(tmp_path / 'drive', frames, interval=0.1)
    process, mark = start_demo('--bag', str(bag), '--bundle', str(tiny_bundle), '--output',
                               str(tmp_path / 'output'))
    deadline = time.monotonic() + 60
    nodes: list[int] = []
    while not nodes and time.monotonic() < deadline:
        nodes = [number for number in processes_with(mark)
                 if b'deltaworld_ros.node.start' in Path(f'/proc/{number}/cmdline').read_bytes()]
    os.kill(nodes[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'the node ended' in errors and 'node.log' in errors
    assert left_with(mark) == []


def test_a_node_that_cannot_start_is_told_at_once(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path / 'bundle')
    manifest = load_bundle(bundle).manifest
    with np.load(bundle / 'golden.npz') as archive:
        golden = dict(archive)
    np.savez(bundle / 'golden.npz', **{**golden, 'features': -golden['features']})
    write_manifest(bundle, manifest)
    bag = write_drive(tmp_path / 'drive', fading_frames(manifest, 10), interval=0.1)
    process, mark = start_demo('--bag', str(bag), '--bundle', str(bundle), '--output',
                               str(tmp_path / 'output'))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'the node did not start' in errors and 'no engine can run the bundle' in errors
    assert left_with(mark) == []


def test_processes_are_ended_when_the_block_fails(tmp_path: Path):
    with pytest.raises(RuntimeError, match='something'), \
            Processes(tmp_path, dict(os.environ)) as processes:
        child = processes.start('sleeper', 'timeit', ['-n1', '-r1', 'import time; time.sleep(60)'])
        assert processes.running('sleeper')
        raise RuntimeError('something')
    assert child.poll() is not None


def test_a_process_that_ignores_interruption_is_killed(tmp_path: Path):
    with Processes(tmp_path, {**os.environ, 'PYTHONUNBUFFERED': '1'}) as processes:
        start_stubborn(processes, 'stubborn')
        assert processes.end('stubborn', patience=0.3) == -signal.SIGKILL


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_process_starts_leaves_none(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    started: list[subprocess.Popen] = []
    monkeypatch.setattr(subprocess, 'Popen', interrupted_by(number, subprocess.Popen, started))
    with interruptible(), pytest.raises(KeyboardInterrupt), \
            Processes(tmp_path, dict(os.environ)) as processes:
        processes.start('sleeper', 'timeit', ['-n1', '-r1', 'import time; time.sleep(60)'])
        pytest.fail('the signal was lost')
    assert len(started) == 1 and started[0].poll() is not None


def test_a_second_signal_does_not_stop_the_ending(tmp_path: Path):
    with interruptible(), pytest.raises(KeyboardInterrupt), \
            Processes(tmp_path, {**os.environ, 'PYTHONUNBUFFERED': '1'}) as processes:
        children = [start_stubborn(processes, name) for name in ('first', 'second')]
        threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
        raise KeyboardInterrupt
    assert all(child.poll() is not None for child in children)


def start_stubborn(processes: Processes, name: str) -> subprocess.Popen:
    """Start a process that ignores both signals, and wait until it does."""
    process = processes.start(name, 'timeit', ['-n1', '-r1', STUBBORN])
    deadline = time.monotonic() + 20
    while processes.last_line(name) != 'ready' and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def interrupted_by(number: int, start: type[subprocess.Popen], started: list[subprocess.Popen]):
    """Return a way to start processes that is hit by a signal before it returns."""
    def begin(*arguments: Any, **options: Any) -> subprocess.Popen:
        process = start(*arguments, **options)
        started.append(process)
        signal.raise_signal(number)
        return process
    return begin


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for either signal, as the command does."""
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_no_moments_are_wanted():
    keeper = MomentKeeper(0)
    keeper.offer(lambda: pytest.fail('made without need'))
    assert keeper.chosen() == []
