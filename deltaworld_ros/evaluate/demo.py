# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo: a recorded drive, the live node and a recorder, each a process, then a report."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.reader import BagReader
from deltaworld_ros.bags.topic_names import ros_topic
from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.moments import load_moments
from deltaworld_ros.evaluate.pictures import color_labels, side_by_side, write_animation
from deltaworld_ros.evaluate.processes import Processes
from deltaworld_ros.evaluate.published import TITLES, WAYS
from deltaworld_ros.evaluate.report import Content, Fact, write_report
from deltaworld_ros.evaluate.tables import METRICS, ScoreTable, score_tables

SAMPLE_BAG = Path(__file__).resolve().parent.parent / 'sample' / 'highway'
DEMO_METRICS = tuple(metric for metric in METRICS
                     if metric.key in ('miou', 'pixel_accuracy', 'depth_absrel'))
_READY_SECONDS = 60.0
# A drive may take this much longer than its recording before it is given up.
_LATE_SECONDS = 40.0
# After the last image the node is given this long to answer.
_SETTLE_SECONDS = 1.5
_SCORE_SECONDS = 60.0
_ANIMATION_BYTES = 4_500_000


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote and found."""

    summary: dict[str, Any]
    tables: list[ScoreTable]
    report: Path


def run_demo(output: Path, *, bag: Path = SAMPLE_BAG, bundle: str = 'street-lite0',
             console: Console | None = None) -> DemoResult:
    """
    Drive a bag through the live node and write report.html, summary.json and forecast.webp.

    Three processes speak over DDS in a domain of their own: the replay, the forecast node and a
    recorder that scores the node by its topics alone. All of them have ended when this returns or
    raises; `UserError` says what went wrong.
    """
    console = console or Console(stderr=True, markup=False, emoji=False)
    if importlib.util.find_spec('rclpy') is None:
        raise UserError('the demo needs ROS 2: source its setup.bash, or install the wheels '
                        'with: pip install "deltaworld_ros[ros]"')
    loaded = load_bundle(bundle)
    with BagFrames(bag) as frames:
        image_topic, info_topic = frames.topics['image'], frames.topics['camera_info']
        count = frames.count
    assert image_topic is not None
    live_image, live_info = ros_topic(image_topic), info_topic and ros_topic(info_topic)
    recording = output / 'recording'
    with _progress(console) as progress, \
            own_domain() as domain, \
            Processes(output / 'logs', _environment(domain)) as processes:
        drive = progress.add_task('starting the node', total=None)
        processes.start('node', 'deltaworld_ros.node.start', _node_arguments(
            loaded, live_image, live_info))
        recorder = _Recorder(processes, live_image, loaded.manifest.leads, recording)
        recorder.wait_until_ready()
        progress.update(drive, description='driving', total=count)
        started = time.monotonic()
        replay = processes.start('replay', 'deltaworld_ros.start', [
            'replay', str(bag), '--image', image_topic, '--image-topic', live_image,
            *(['--camera-info-topic', live_info] if live_info else []), '--stamp', 'now',
            '--wait', '30', '--subscribers', '2', '--quiet'])  # the node and the recorder
        limit = _duration(bag) + _LATE_SECONDS
        while replay.poll() is None:
            progress.update(drive, completed=recorder.images)
            recorder.check()
            if time.monotonic() - started > limit:
                raise UserError(f'the replay did not end within {limit:.0f} s')
            time.sleep(0.1)
        if replay.returncode:
            raise UserError(f'the replay failed: {processes.last_line("replay")}')
        time.sleep(_SETTLE_SECONDS)
        recorder.check()
        progress.update(drive, completed=count)
        scoring = progress.add_task('scoring the forecasts', total=None)
        recorder.finish()
        processes.end('node')
        progress.update(scoring, total=1, completed=1)
        writing = progress.add_task('writing the report', total=None)
        result = _write(output, recording, loaded, bag)
        progress.update(writing, total=1, completed=1)
    return result


class _Recorder:
    """The recorder's process and what it tells."""

    def __init__(self, processes: Processes, image_topic: str, leads: Sequence[float],
                 folder: Path) -> None:
        self.images = 0
        self._processes = processes
        self._ready = threading.Event()
        self._error = ''
        arguments = ['--image-topic', image_topic, '--output', str(folder), '--leads',
                     *(f'{lead:g}' for lead in leads)]
        if image_topic.endswith('/compressed'):
            arguments.append('--compressed')
        self._process = processes.start(
            'recorder', 'deltaworld_ros.node.recorder', arguments, pipe_output=True)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Wait until node and recorder have found each other."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready.wait(0.1):
            self.check()
            refusal = self._processes.line_with('node', 'configure failed')
            if refusal:
                raise UserError(f'the node did not start: {refusal}')
            if time.monotonic() > deadline:
                raise UserError(
                    f'the node was not ready within {_READY_SECONDS:.0f} s; its last words: '
                    f'{self._processes.last_line("node")}')

    def check(self) -> None:
        """Raise `UserError` where the node or the recorder has ended."""
        for name in ('node', 'recorder'):
            if not self._processes.running(name):
                raise UserError(f'the {name} ended: {self._processes.last_line(name)} '
                                f'(see {self._processes.log(name)})')

    def finish(self) -> None:
        """Let the recorder score and write its result."""
        code = self._processes.end('recorder', patience=_SCORE_SECONDS)
        self._reader.join(5)
        if code:
            raise UserError(self._error or
                            f'the recorder failed: {self._processes.last_line("recorder")}')

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                state = json.loads(line)
                self.images = state.get('images', self.images)
                self._error = state.get('error', self._error)
                if state.get('state') == 'ready':
                    self._ready.set()


def _node_arguments(bundle: Bundle, image_topic: str, info_topic: str | None) -> list[str]:
    compressed = image_topic.endswith('/compressed')
    own_name = 'image/compressed' if compressed else 'image'
    arguments = [
        '--ros-args', '-p', f'bundle:={bundle.path}', '-p', 'autostart:=true',
        '-p', f'transport:={"compressed" if compressed else "raw"}',
        '-r', f'{own_name}:={image_topic}']
    return arguments + (['-r', f'camera_info:={info_topic}'] if info_topic else [])


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Yield a ROS domain that no other demo on this machine uses, but not 0, the usual one."""
    # Domains above 101 use ports that the system may have given to others.
    for domain in range(101, 0, -1):
        # An abstract name: it is no file that others could lay there, and ends with its process.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
            try:
                taken.bind(f'\0deltaworld_ros demo in domain {domain}')
            except OSError:
                continue
            yield domain
            return
    raise UserError('every ROS domain is in use by another demo')


def _environment(domain: int) -> dict[str, str]:
    """Return an environment whose DDS traffic stays on this machine and in this domain."""
    environment = dict(os.environ)
    environment['ROS_DOMAIN_ID'] = str(domain)
    environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    environment.pop('ROS_LOCALHOST_ONLY', None)
    environment['PYTHONUNBUFFERED'] = '1'
    return environment


def _duration(bag: Path) -> float:
    """Return the length of a recording in seconds."""
    with contextlib.closing(BagReader(bag)) as reader:
        return reader.duration


def _progress(console: Console) -> Progress:
    return Progress(SpinnerColumn(), TextColumn('{task.description:<22}'), BarColumn(),
                    TextColumn('{task.percentage:>3.0f} %'), TimeElapsedColumn(), console=console)


def _write(output: Path, recording: Path, bundle: Bundle, bag: Path) -> DemoResult:
    """Write the report, the summary and the animated picture from what was recorded."""
    manifest = bundle.manifest
    summary = json.loads((recording / 'summary.json').read_text())
    summary = {'bundle': manifest.name, 'source': bag.name, **summary}
    write_whole(output / 'summary.json', json.dumps(summary, indent=2) + '\n')
    animation = output / 'forecast.webp'
    _write_animation(animation, recording, bundle)
    tables = score_tables(summary['leads'], DEMO_METRICS, titles=TITLES, meanings=WAYS)
    latency = summary['latency_ms']
    facts = [
        Fact(f'{summary["forecasts"]}', 'forecasts',
             f'of {summary["images"]} pictures; for {summary["scored"]} of them the node also saw '
             'the pictures that show what came'),
        Fact(f'{summary["rate_hz"]:.1f} per second', 'rate',
             f'{summary["dropped"]} pictures were passed over to stay up to date'),
        Fact(f'{latency["p50"]:.0f} ms', 'from picture to forecast',
             f'median, received over DDS; 95 % within {latency["p95"]:.0f} ms'),
    ]
    report = output / 'report.html'
    write_report(report, Content(
        source=bag.name, bundle=manifest.name, classes=manifest.classes,
        leads=manifest.leads, facts=facts, tables=tables,
        moments=load_moments(recording / 'moments.npz'), ground_truth=False,
        how='Here the drive was played at its own speed into the running ROS 2 node, and a third '
            'process listened to what the node published.', animation=animation))
    return DemoResult(summary, tables, report)


def _write_animation(path: Path, recording: Path, bundle: Bundle) -> None:
    manifest = bundle.manifest
    with np.load(recording / 'drive.npz', allow_pickle=False) as drive:
        images, forecast, true = drive['images'], drive['forecast'], drive['true']
        interval = float(np.median(np.diff(drive['seconds']))) if len(images) > 1 else 0.1
    lead = f'{manifest.leads[-1]:g} s'
    height, width = images.shape[1:3]
    pictures = [
        side_by_side([('camera', image),
                      (f'forecast made {lead} before', color_labels(before, manifest.classes)),
                      ('what came', color_labels(came, manifest.classes))], width, height)
        for image, before, came in zip(images, forecast, true, strict=True)]
    # Every second picture, or fewer, where all of them would make too large a file.
    for step in (1, 2, 4, 8):
        write_animation(path, pictures[::step], interval * step)
        if path.stat().st_size < _ANIMATION_BYTES:
            return
