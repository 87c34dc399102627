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
from deltaworld_ros.forecast.frame_gate import Odd, Restart, Verdict
from deltaworld_ros.forecast.live_bound import LeadBound
from deltaworld_ros.forecast.self_score import LeadScore
from deltaworld_ros.forecast.view import (
    BAR,
    UNKNOWN_COLOR,
    color_depth,
    color_labels,
    colored_range,
    forecast_view,
)
from deltaworld_ros.node.diagnostics import values
from deltaworld_ros.node.judgement import REMEDIES, Limits, Situation, judge
from deltaworld_ros.node.mailbox import Batch, Mailbox, WaitingFrame
from deltaworld_ros.node.parameter_table import NEVER, PARAMETERS, render_markdown
from deltaworld_ros.node.shared_memory import shared_memory_problems
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.throttled_log import ThrottledLog, clip, kind_of
from deltaworld_ros.node.worker import FrameWorker

ROOT = Path(__file__).resolve().parents[2]


def frame(number: int) -> WaitingFrame:
    return WaitingFrame(number, number * 10**7)   # 100 images a second


def test_the_newest_frame_wins() -> None:
    done: list[list[int]] = []
    entered, proceed, finished = threading.Event(), threading.Event(), threading.Event()

    def process(batch: Batch) -> None:
        entered.set()
        assert proceed.wait(30)
        done.append([one.message for one in batch.frames])
        if batch.frames[-1].message == 5:
            finished.set()

    worker = FrameWorker(process, Mailbox(0.2, 1))   # a context of one frame needs no other
    assert worker.put(frame(1), Verdict()) == 0
    assert entered.wait(30)
    # 1 is in work: of those that follow, each displaces the one before.
    assert [worker.put(frame(number), Verdict()) for number in (2, 3, 4, 5)] == [0, 1, 1, 1]
    assert worker.seconds_in_work > 0
    proceed.set()
    assert finished.wait(30)
    assert worker.stop()
    assert done == [[1], [5]] and worker.seconds_in_work == 0


def test_a_stopped_or_cleared_worker_forgets_what_waits() -> None:
    done: list[int] = []
    entered, proceed = threading.Event(), threading.Event()

    def process(batch: Batch) -> None:
        entered.set()
        assert proceed.wait(30)
        done.append(batch.frames[-1].message)

    worker = FrameWorker(process, Mailbox(0.2, 4))
    worker.put(frame(1), Verdict())
    assert entered.wait(30)
    worker.put(frame(2), Verdict())
    assert worker.clear(Restart.REQUESTED) == 1 and worker.clear(Restart.REQUESTED) == 0
    worker.put(frame(3), Verdict())
    threading.Timer(0.05, proceed.set).start()
    assert worker.stop()
    assert done == [1]


def test_a_worker_that_hangs_is_left_in_time() -> None:
    entered, proceed = threading.Event(), threading.Event()

    def process(batch: Batch) -> None:
        entered.set()
        assert proceed.wait(30)

    worker = FrameWorker(process, Mailbox(0.2, 4))
    worker.put(frame(1), Verdict())
    assert entered.wait(30)
    assert not worker.stop(seconds=0.01)
    proceed.set()
    assert worker.stop(seconds=30)


def stamps(batch: Batch) -> list[int]:
    return [one.stamp_ns // 10**6 for one in batch.frames]


def waiting(milliseconds: int) -> WaitingFrame:
    return WaitingFrame('image', milliseconds * 10**6)


def test_the_mailbox_keeps_what_a_context_may_need() -> None:
    mailbox = Mailbox(0.2, 4)
    displaced = sum(mailbox.put(waiting(33 * number), Verdict()) for number in range(60))
    batch = mailbox.take()
    kept = stamps(batch)
    # The newest, and others about half a stride apart, no older than a context can reach.
    assert kept[-1] == 33 * 59 and kept[-1] - kept[0] <= 900 and len(kept) + displaced == 60
    assert np.diff(kept[:-1]).min() >= 99 and np.diff(kept).max() <= 132 and len(kept) <= 10
    assert not mailbox
    for number in range(1000):   # stamps that hardly advance
        mailbox.put(WaitingFrame('image', number), Verdict())
    assert len(mailbox.take().frames) == 2


def test_the_mailbox_keeps_verdicts_until_they_are_acted_on() -> None:
    mailbox = Mailbox(0.2, 4)
    gap, resumed = Verdict(Restart.GAP), Verdict(resumed=True, undone=Restart.GAP)
    mailbox.put(waiting(0), Verdict())
    assert mailbox.put(waiting(9000), gap) == 1
    mailbox.put(waiting(9100), Verdict())
    batch = mailbox.take()
    assert batch.verdict.restart is Restart.GAP and stamps(batch) == [9000, 9100]
    # The misdated frame is gone before it was worked on: nothing has happened.
    mailbox.put(waiting(20000), gap)
    mailbox.put(waiting(9200), resumed)
    batch = mailbox.take()
    assert batch.verdict == Verdict() and stamps(batch) == [9200]
    # It was worked on: the worker must go back.
    mailbox.put(waiting(20000), gap)
    mailbox.take()
    mailbox.put(waiting(9300), resumed)
    assert mailbox.take().verdict.resumed
    # A reset in between is not undone.
    mailbox.clear(Restart.REQUESTED)
    mailbox.put(waiting(20000), gap)
    mailbox.put(waiting(9400), resumed)
    assert mailbox.take().verdict.restart is Restart.REQUESTED
    # Of a shorter jump, too, only the misdated frame goes, wherever it is.
    resumed = Verdict(resumed=True)
    for milliseconds in (10000, 10100, 10700):
        mailbox.put(waiting(milliseconds), Verdict())
    assert mailbox.put(waiting(10300), resumed) == 1
    batch = mailbox.take()
    assert batch.verdict == Verdict() and stamps(batch) == [10000, 10100, 10300]
    mailbox.put(waiting(10900), Verdict())
    assert mailbox.put(waiting(10500), resumed) == 1
    assert mailbox.take().verdict == Verdict()   # of 10900 the worker has seen nothing
    mailbox.put(waiting(10600), resumed)
    assert mailbox.take().verdict.resumed
    mailbox.put(waiting(20000), gap)
    for milliseconds in (20100, 20800):
        mailbox.put(waiting(milliseconds), Verdict())
    mailbox.put(waiting(20300), resumed)
    batch = mailbox.take()
    assert batch.verdict.restart is Restart.GAP and stamps(batch) == [20000, 20100, 20300]


def test_statistics_of_a_stream() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    for number in range(101):   # 20 Hz for 5 s
        now = 100 + number * 0.05
        statistics.received()
        if number % 4 == 3:
            statistics.odd(Odd.LATE)
            continue
        statistics.usable()
        if number % 2:
            statistics.accepted(4, True)
            statistics.took({'decode': 10.0 + number % 4})
            statistics.published(0.1 if number < 97 else 0.2, forecast=number % 8 == 1)
        else:
            statistics.dropped()
    snapshot = statistics.snapshot()
    assert (snapshot.received, snapshot.accepted, snapshot.dropped) == (101, 25, 51)
    assert snapshot.odd == snapshot.odd_lately == {Odd.LATE: 25}
    assert snapshot.input_rate == pytest.approx(20, rel=0.02)
    assert snapshot.usable_rate == pytest.approx(15, rel=0.02)
    assert snapshot.output_rate == pytest.approx(5, rel=0.02)
    assert (snapshot.published, snapshot.forecasts) == (25, 13)
    assert snapshot.forecast_rate == pytest.approx(2.6, rel=0.02)
    assert (snapshot.age, snapshot.largest_age) == (0.2, 0.2)
    assert snapshot.percentiles['decode'] == pytest.approx((11.0, 11.0))
    assert snapshot.without_context == pytest.approx(0.15)
    now += 10
    snapshot = statistics.snapshot()
    assert (snapshot.input_rate, snapshot.output_rate, snapshot.age) == (0, 0, None)
    assert snapshot.accepted == 25 and not snapshot.odd_lately
    assert snapshot.without_forecast == pytest.approx(10.15)
    # Whoever begins to listen has not waited yet.
    statistics.wanted(True)
    now += 1
    assert statistics.snapshot().without_forecast == 1 and statistics.snapshot().ahead_wanted


def test_a_failing_engine_shows_until_a_frame_is_computed() -> None:
    statistics = Statistics()
    statistics.engine_failed('out of memory')
    # Observing works, decoding does not: that must not look well in between.
    statistics.accepted(4, True)
    assert statistics.snapshot().engine_failing
    statistics.took({'total': 3.0})
    assert not statistics.snapshot().engine_failing
    assert statistics.snapshot().error == 'out of memory'


def test_restarts_are_counted_by_kind() -> None:
    statistics = Statistics()
    for reason in (Restart.WENT_BACK, Restart.WENT_BACK, Restart.GAP, Restart.CLOCK_JUMPED):
        statistics.accepted(4, True)
        statistics.restarted(reason)
        assert statistics.snapshot().context_fill == 0
    assert statistics.snapshot().restarts == {
        Restart.WENT_BACK: 2, Restart.GAP: 1, Restart.CLOCK_JUMPED: 1}
    statistics.resumed(Restart.GAP)
    snapshot = statistics.snapshot()
    assert Restart.GAP not in snapshot.restarts and Restart.GAP not in snapshot.restarts_lately
    assert snapshot.odd == {Odd.AHEAD: 1}
    statistics.resumed(None)   # its jump had restarted nothing
    assert statistics.snapshot().odd == {Odd.AHEAD: 2}
    assert statistics.snapshot().restarts == {Restart.WENT_BACK: 2, Restart.CLOCK_JUMPED: 1}


def diagnose(change: Any = None, limits: Any = None, **situation: Any) -> tuple[int, str]:
    statistics = Statistics()
    statistics.received()
    statistics.accepted(4, True)
    snapshot = replace(statistics.snapshot(), **{
        'input_rate': 20.0, 'usable_rate': 20.0, **(change or {})})
    values: dict[str, Any] = {
        'state': 'active', 'startup_error': '', 'bundle': 'tiny', 'engine': 'some',
        'context_length': 4, 'stride': 0.2, 'depth_scale': 1.0, 'camera_problem': 'none came',
        **situation}
    return judge(snapshot, Situation(**values), Limits(*(limits or (0.4, 1.0, 2.0, 0.0))))


def lead_score(skill: float, forecasts: int = 5) -> LeadScore:
    return LeadScore(forecasts, {'features': 0.1, 'classes': 0.1, 'depth': 0.1 * (1 - skill)},
                     {'features': 0.2, 'classes': 0.2, 'depth': 0.1})


@pytest.mark.parametrize(('change', 'situation', 'level', 'text'), [
    ({}, {}, 0, 'active'),
    ({'largest_age': 0.4}, {}, 0, 'active'),
    ({'largest_age': 0.5}, {}, 1, 'outputs are 0.50 s old, limit 0.4 s'),
    ({'largest_age': 1.5}, {}, 2, 'outputs are 1.50 s old, limit 1 s'),
    ({'largest_age': 1e6}, {}, 2, 'check use_sim_time'),
    ({'largest_age': -0.01}, {}, 0, 'active'),
    ({'largest_age': -0.5}, {}, 1, 'images are stamped 0.50 s in the future, limit 0.4 s'),
    ({'largest_age': -37.0}, {}, 2, 'images are stamped 37.00 s in the future, limit 1 s'),
    ({'input_rate': 1.5}, {}, 1, '1.5 images a second, limit 2'),
    ({'input_rate': 0.0}, {'state': 'inactive'}, 0, 'inactive'),
    ({}, {'depth_scale': None}, 1, 'depth is not scaled to the camera: none came'),
    ({'refused_lately': True, 'error': 'bad step'}, {}, 1, 'a message was refused: bad step'),
    ({'engine_failing': True, 'error': 'out of memory', 'input_rate': 0.1}, {}, 2,
     'the engine failed: out of memory; 0.1 images a second'),
    ({}, {'state': 'unconfigured', 'startup_error': 'configure failed: x'}, 2,
     'configure failed: x'),
    ({}, {'seconds_in_work': 18.0}, 2, 'one image has been in work for 18.0 s, limit 1 s'),
    ({}, {'seconds_in_work': 18.0, 'state': 'inactive'}, 0, 'inactive'),
    ({'ahead_wanted': True, 'without_forecast': 2.8}, {}, 0, 'active'),
    ({'ahead_wanted': True, 'without_forecast': 3.0}, {}, 2, 'no forecast for 3 s'),
    ({'ahead_wanted': True, 'without_forecast': 3.0}, {'stride': 0.4}, 0, 'active'),
    ({'without_context': 4.0, 'usable_rate': 2.5}, {}, 1,
     'the context has not been whole for 4 s: 2.5 images a second can be used, this bundle needs '
     'more than 3.3 (one every 0.3 s)'),
    ({'without_context': 4.0, 'input_rate': 0.0}, {}, 1, 'no image arrives'),
    ({'restarts_lately': {Restart.WENT_BACK: 7}}, {}, 1,
     'the context restarted 7 times in 5 s: the stamp went back (is more than one camera'),
    ({'odd_lately': {Odd.REPEATED: 90}}, {}, 1, '90 images in 5 s were left out: repeated stamp'),
    ({'odd_lately': {Odd.REPEATED: 10}}, {}, 0, 'active'),
    ({'breaks_lately': 3}, {}, 1, 'the context broke 3 times'),
    ({'lost_lately': 3}, {}, 1, '3 messages were lost on their way'),
    ({}, {'clock_stands': 5.0}, 1, 'the clock has stood still for 5 s: use_sim_time is true'),
    ({}, {'input_problem': 'nobody publishes'}, 1, 'nobody publishes'),
    ({'scores': {0.2: lead_score(-9), 0.6: lead_score(0.1)}}, {}, 0, 'active'),
    ({'scores': {0.2: lead_score(0.1), 0.6: lead_score(-0.1, forecasts=4)}}, {}, 0, 'active'),
    ({'scores': {0.2: lead_score(0.1), 0.6: lead_score(-0.1)}}, {}, 1,
     'the skill of forecasts 0.6 s ahead is -0.10 in depth, limit 0 (0: no better than'),
    ({'bounds': {0.2: LeadBound(None, 0.93, False)}}, {}, 0, 'active'),
    ({'bounds': {0.2: LeadBound(None, 0.93, False), 0.6: LeadBound(None, 0.82, True)}}, {}, 1,
     'the bound of the nearest obstacle 0.6 s ahead held in 82 % of the columns lately, 95 % are'),
])
def test_diagnostics_name_every_cause(
        change: dict[str, Any], situation: dict[str, Any], level: int, text: str) -> None:
    result = diagnose(change, **situation)
    assert result[0] == level and text in result[1]


def test_no_skill_is_judged_where_no_limit_is_set() -> None:
    assert diagnose({'scores': {0.6: lead_score(-9)}}, (0.4, 1.0, 2.0, NEVER)) == (0, 'active')


def test_a_score_ages() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    statistics.scored({0.6: lead_score(0.5)})
    assert statistics.snapshot().scores[0.6].skill['depth'] == pytest.approx(0.5)
    now += 31
    assert statistics.snapshot().scores == {}


def test_a_bound_shows_in_the_values_and_ages() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    statistics.bounded({0.2: LeadBound(None, None, False), 0.6: LeadBound(None, 0.8, True)})
    situation = Situation('active', '', 'tiny', 'some', 4, 0.2, 1.0, '')
    shown = values(statistics.snapshot(), situation)
    assert (shown['bound_coverage_200ms'], shown['bound_alarm_200ms']) == ('', 'false')
    assert (shown['bound_coverage_600ms'], shown['bound_alarm_600ms']) == ('0.800', 'true')
    now += 31
    assert statistics.snapshot().bounds == {}


def test_every_kind_has_a_remedy() -> None:
    assert set(REMEDIES) == {*Odd, *Restart} - {Restart.ENDED}


class Lines:
    """Stands in for rcutils' logger, which writes to the process's own output."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(line)

    info = error = warning


def test_a_flood_of_one_kind_is_a_few_lines() -> None:
    now = 0.0
    lines = Lines()
    log = ThrottledLog(lines, clock=lambda: now)
    for number in range(300):   # 30 Hz for 10 s
        now = number / 30
        log.error('truncated', f'a truncated JPEG of {number} bytes')
    assert len(lines.lines) <= 8
    assert '(146 more like this were not logged)' in ''.join(lines.lines)
    # Another kind is not held back, the same line is at once.
    before = len(lines.lines)
    for _ in range(10):
        log.error('step', 'the step is wrong')
    assert lines.lines[before:] == ['the step is wrong']


def test_lines_and_kinds_are_bounded() -> None:
    lines = Lines()
    log = ThrottledLog(lines)
    for number in range(5000):
        log.warn(number, 'x' * 10**5 + '\n')
    assert len(log._kinds) <= 100 and max(map(len, lines.lines)) <= 400
    assert '\n' not in clip('a\n\nb') and clip('a\n b') == 'a b'


def raise_with(text: str) -> None:
    raise UserError(f'this is {text}')


def test_kinds_are_places_and_not_texts() -> None:
    kinds = []
    for text in ('one', 'two'):
        with pytest.raises(UserError) as caught:
            raise_with(text)
        kinds.append(kind_of(caught.value))
    with pytest.raises(UserError) as caught:
        raise UserError('this is one')
    assert kinds[0] == kinds[1] != kind_of(caught.value)


def test_parameter_table_checks_types_and_ranges() -> None:
    rows = {row.name: row for row in PARAMETERS}
    assert len(rows) == len(PARAMETERS)
    for row in PARAMETERS:
        row.check(row.default)
    for name, value, accepted in (
            ('output_width', 15, 'accepted: integer, 16 to 1920'),
            ('output_width', 320.0, 'integer, 16 to 1920'),
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
    tile = BAR + 32
    assert ahead.shape == (2 * tile + BAR, 192, 3)       # 3 tiles, then 3 futures, and the legend
    assert ahead[tile + BAR + 28, 60].tolist() == [128, 64, 128]
    assert ahead[BAR + 28, 100].tolist() == [0, 0, 142]
    # Captions stand above pictures and not in them; the legend has the class that is shown.
    assert (ahead[BAR:tile, :64] == 200).all() and (ahead[:BAR, :64].max(axis=2) > 200).any()
    assert (ahead[-BAR:] == (0, 0, 142)).all(axis=2).any()
    assert not (ahead[-BAR:] == (128, 64, 128)).all(axis=2).any()
    now = forecast_view(forecast, 0, classes, (0.5, 40.0), image, (64, 32))
    assert now.shape == (tile + BAR, 192, 3)
    tiny = forecast_view(forecast, 1, classes, (0.5, 40.0), image, (16, 8))
    assert tiny.shape == (2 * (BAR + 8) + BAR, 48, 3)


def test_views_paint_no_depth_in_the_sky() -> None:
    """Its depth is infinite; the smallest depths of a bundle do not take most of the colours."""
    nearest, farthest = colored_range(0.001, 80.0)
    assert (nearest, farthest) == (2.0, 80.0) and colored_range(4.0, 80.0) == (4.0, 80.0)
    depth = color_depth(np.array([[np.inf, 79.0]], np.float32), nearest, farthest)
    assert tuple(depth[0, 0]) == UNKNOWN_COLOR and tuple(depth[0, 1]) != UNKNOWN_COLOR


def test_little_shared_memory_is_told(tmp_path: Path) -> None:
    assert shared_memory_problems(tmp_path, needed=1) == []
    [line] = shared_memory_problems(tmp_path, needed=2**70)
    assert 'MB left' in line and '--shm-size' in line
    [line] = shared_memory_problems(tmp_path / 'missing')
    assert 'missing or not writable' in line
