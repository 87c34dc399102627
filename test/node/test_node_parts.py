# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parts that need no DDS: worker, statistics, diagnostics, parameter table, views."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.forecast.view import (
    UNKNOWN_COLOR,
    color_depth,
    color_labels,
    forecast_view,
)
from deltaworld_ros.node.parameter_table import PARAMETERS, render_markdown
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.worker import NewestItemWorker

ROOT = Path(__file__).resolve().parents[2]


def test_the_newest_item_wins() -> None:
    done: list[int] = []
    entered, proceed, finished = threading.Event(), threading.Event(), threading.Event()

    def process(item: int) -> None:
        entered.set()
        assert proceed.wait(30)
        done.append(item)
        if item == 5:
            finished.set()

    worker = NewestItemWorker(process)
    assert not worker.put(1)
    assert entered.wait(30)
    # 1 is in work: of those that follow, each displaces the one before.
    assert [worker.put(item) for item in (2, 3, 4, 5)] == [False, True, True, True]
    proceed.set()
    assert finished.wait(30)
    worker.stop()
    assert done == [1, 5]


def test_a_stopped_or_cleared_worker_forgets_what_waits() -> None:
    done: list[int] = []
    entered, proceed = threading.Event(), threading.Event()

    def process(item: int) -> None:
        entered.set()
        assert proceed.wait(30)
        done.append(item)

    worker = NewestItemWorker(process)
    worker.put(1)
    assert entered.wait(30)
    worker.put(2)
    assert worker.clear() and not worker.clear()
    worker.put(3)
    threading.Timer(0.05, proceed.set).start()
    worker.stop()
    assert done == [1]


def test_statistics_of_a_stream() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    for number in range(101):   # 20 Hz for 5 s
        now = 100 + number * 0.05
        statistics.received()
        if number % 2:
            statistics.accepted(4)
            statistics.took({'decode': 10.0 + number % 4})
            statistics.published(0.1 if number < 99 else 0.2)
        else:
            statistics.dropped()
    snapshot = statistics.snapshot()
    assert (snapshot.received, snapshot.accepted, snapshot.dropped) == (101, 50, 51)
    assert snapshot.input_rate == pytest.approx(20, rel=0.02)
    assert snapshot.output_rate == pytest.approx(10, rel=0.02)
    assert (snapshot.age, snapshot.largest_age) == (0.2, 0.2)
    assert snapshot.percentiles['decode'] == pytest.approx((12.0, 13.0))
    now += 10
    snapshot = statistics.snapshot()
    assert (snapshot.input_rate, snapshot.output_rate, snapshot.age) == (0, 0, None)
    assert snapshot.accepted == 50


def test_a_failing_engine_shows_until_a_frame_is_computed() -> None:
    statistics = Statistics()
    statistics.engine_failed('out of memory')
    # Observing works, decoding does not: that must not look well in between.
    statistics.accepted(4)
    assert statistics.snapshot().engine_failing
    statistics.took({'total': 3.0})
    assert not statistics.snapshot().engine_failing
    assert statistics.snapshot().error == 'out of memory'


def test_restarts_are_counted_by_kind() -> None:
    statistics = Statistics()
    for reason in ('the stamp went back by 0.100 s', 'the stamp went back by 7.000 s',
                   'a gap of 3.0 s (more than 1 s)', 'the clock jumped back',
                   "the image source changed from (1, 2, 'rgb8') to (2, 2, 'rgb8')"):
        statistics.accepted(4)
        statistics.restarted(reason)
        assert statistics.snapshot().context_fill == 0
    assert statistics.snapshot().restarts == {
        'the stamp went back': 2, 'a gap': 1, 'the clock jumped back': 1,
        'the image source changed': 1}


def diagnose(change: Any = None, limits: Any = None, **situation: Any) -> tuple[int, str]:
    from deltaworld_ros.node.diagnostics import Limits, Situation, judge

    statistics = Statistics()
    statistics.received()
    statistics.accepted(4)
    snapshot = replace(statistics.snapshot(), **{'input_rate': 20.0, **(change or {})})
    values: dict[str, Any] = {
        'state': 'active', 'startup_error': '', 'bundle': 'tiny', 'engine': 'some',
        'context_length': 4, 'depth_scale': 1.0, 'camera_problem': 'none came', **situation}
    return judge(snapshot, Situation(**values), Limits(*(limits or (0.4, 1.0, 2.0))))


@pytest.mark.parametrize(('change', 'situation', 'level', 'text'), [
    ({}, {}, 0, 'active'),
    ({'largest_age': 0.4}, {}, 0, 'active'),
    ({'largest_age': 0.5}, {}, 1, 'outputs are 0.50 s old, limit 0.4 s'),
    ({'largest_age': 1.5}, {}, 2, 'outputs are 1.50 s old, limit 1 s'),
    ({'largest_age': 1e6}, {}, 2, 'check use_sim_time'),
    ({'input_rate': 1.5}, {}, 1, '1.5 images a second, limit 2'),
    ({'input_rate': 0.0}, {'state': 'inactive'}, 0, 'inactive'),
    ({}, {'depth_scale': None}, 1, 'depth is not scaled to the camera: none came'),
    ({'refused_lately': True, 'error': 'bad step'}, {}, 1, 'a message was refused: bad step'),
    ({'engine_failing': True, 'error': 'out of memory', 'input_rate': 0.1}, {}, 2,
     'the engine failed: out of memory; 0.1 images a second'),
    ({}, {'state': 'unconfigured', 'startup_error': 'configure failed: x'}, 2,
     'configure failed: x'),
])
def test_diagnostics_name_every_cause(
        change: dict[str, Any], situation: dict[str, Any], level: int, text: str) -> None:
    pytest.importorskip('rclpy')
    result = diagnose(change, **situation)
    assert result[0] == level and text in result[1]


def test_parameter_table_checks_types_and_ranges() -> None:
    rows = {row.name: row for row in PARAMETERS}
    assert len(rows) == len(PARAMETERS)
    for row in PARAMETERS:
        row.check(row.default)
    for name, value, accepted in (
            ('output_width', 15, 'accepted: integer, 16 to 3840'),
            ('output_width', 320.0, 'integer, 16 to 3840'),
            ('fit', 'stretch', 'accepted: string, crop | squash'),
            ('max_gap', float('nan'), 'accepted: double, 0.05 to 60.0'),
            ('autostart', 1, 'accepted: bool, true | false'),
            ('bundle', 3, 'accepted: string, any text')):
        with pytest.raises(UserError, match=f'parameter {name} is ') as caught:
            rows[name].check(value)
        assert accepted in str(caught.value).replace('\\', '')


def test_the_table_renders_without_rclpy() -> None:
    program = ('import sys; sys.modules["rclpy"] = None; import runpy; '
               'runpy.run_module("deltaworld_ros.node.parameter_table", run_name="__main__")')
    result = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True,
                            text=True, check=True)
    assert result.stdout == render_markdown()
    assert result.stdout.count('\n') == len(PARAMETERS) + 2
    assert '| `fit` | string | `crop` | crop, squash | read-only |' in result.stdout


def test_the_parameter_file_holds_the_defaults() -> None:
    """The file that launch loads documents every parameter with the value that it has anyway."""
    content = yaml.safe_load((ROOT / 'config' / 'forecast.yaml').read_text())
    assert content == {'/**': {'ros__parameters': {
        row.name: row.default for row in PARAMETERS if row.name != 'autostart'}}}


def test_views_show_every_future(tiny_bundle: Path) -> None:
    classes = load_bundle(tiny_bundle).manifest.classes
    labels = np.array([[0, 1], [3, 255]], np.uint8)
    colours = color_labels(labels, classes)
    assert colours[1, 0].tolist() == [0, 0, 142] and tuple(colours[1, 1]) == UNKNOWN_COLOR
    depth = color_depth(np.array([[2.0, 42.0], [np.nan, 100.0]], np.float32), 2.0, 42.0)
    assert tuple(depth[1, 0]) == UNKNOWN_COLOR and (depth[0, 1] == depth[1, 1]).all()
    assert depth[0, 0, 0] > depth[0, 0, 2] and depth[0, 1, 2] > depth[0, 1, 0]   # red, blue
    maps = np.full((2, 16, 32), 3, np.uint8)
    forecast = Forecast(
        stamp=0.0, leads=(0.0, 0.2), weights=np.array([.6, .3, .1], np.float32),
        fused_labels=maps, fused_depth=np.ones((2, 16, 32), np.float32),
        confidence=np.ones((2, 16, 32), np.float32), labels=np.zeros((3, 1, 16, 32), np.uint8),
        depth=None, context_stamps=(0.0,), timings={})
    image = np.full((16, 32, 3), 200, np.uint8)
    ahead = forecast_view(forecast, 1, classes, (0.5, 40.0), image, (64, 32))
    assert ahead.shape == (64, 192, 3)       # 3 tiles, then 3 futures
    assert ahead[60, 60].tolist() == [128, 64, 128] and ahead[28, 100].tolist() == [0, 0, 142]
    assert forecast_view(forecast, 0, classes, (0.5, 40.0), image, (64, 32)).shape == (32, 192, 3)
