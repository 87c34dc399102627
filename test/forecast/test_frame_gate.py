# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Single odd frames cost only themselves; real jumps and lasting changes restart the context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from deltaworld_ros.forecast.context import ContextChain
from deltaworld_ros.forecast.frame_gate import LASTING_FRAMES, FrameGate, Odd, Restart

EPOCH = 1_700_000_000 * 10**9
PERIOD = 10**8
SECOND = 10**9
TOKEN = np.zeros(3, np.float32)
Frame = tuple[int, str]


def run(frames: list[Frame]) -> tuple[Counter[Restart], Counter[Odd], int, list[int]]:
    """Return restarts and odd frames by kind, the resumptions, and each frame's context."""
    gate, chain = FrameGate(1.0), ContextChain(0.2, 4)
    restarts: Counter[Restart] = Counter()
    odd: Counter[Odd] = Counter()
    resumed = 0
    fills = []
    for stamp, source in frames:
        verdict = gate.check(stamp, source)
        if verdict.odd:
            odd[verdict.odd] += 1
            continue
        if verdict.restart:
            restarts[verdict.restart] += 1
            chain.begin(verdict.restart)
        elif verdict.resumed:
            resumed += 1
            chain.resume()
        chain.append(stamp, 'features', TOKEN, TOKEN, chain.predecessor(stamp))
        fills.append(len(chain.context()))
    return restarts, odd, resumed, fills


def camera(count: int = 60) -> list[Frame]:
    return [(EPOCH + number * PERIOD, 'front') for number in range(count)]


def with_every_tenth(change: Callable[[int, str], list[Frame]]) -> list[Frame]:
    """Replace every tenth frame of an ordinary camera by what `change` makes of it."""
    return [frame for number, (stamp, source) in enumerate(camera())
            for frame in (change(stamp, source) if number % 10 == 5 else [(stamp, source)])]


@pytest.mark.parametrize(('change', 'kind'), [
    (lambda stamp, source: [(stamp, source), (stamp, source)], Odd.REPEATED),
    (lambda stamp, source: [(stamp - 125_000_000, source)], Odd.LATE),
    (lambda stamp, source: [(0, source)], Odd.LATE),
    (lambda stamp, source: [(-5 * SECOND, source)], Odd.LATE),
    (lambda stamp, source: [(stamp, source), (stamp - 3, source)], Odd.LATE),
    (lambda stamp, source: [(stamp, 'other')], Odd.OTHER_SOURCE),
    (lambda stamp, source: [(stamp, source), (stamp + 10, 'a'), (stamp + 20, 'b')],
     Odd.OTHER_SOURCE),
])
def test_one_odd_frame_in_ten_costs_only_itself(
        change: Callable[[int, str], list[Frame]], kind: Odd) -> None:
    restarts, odd, _, fills = run(with_every_tenth(change))
    assert not restarts and set(odd) == {kind} and odd[kind] >= 6
    assert len(fills) >= 54 and set(fills[7:]) == {4}


def test_a_frame_from_the_future_costs_only_itself() -> None:
    restarts, odd, resumed, fills = run(
        with_every_tenth(lambda stamp, source: [(stamp + 3600 * SECOND, source)]))
    assert restarts == {Restart.GAP: 6} and resumed == 6 and not odd
    # The misdated frame itself has no context; every other frame after the first ones has one.
    assert fills.count(1) == 6 + 1 and set(fills[8:]) == {1, 4}


@pytest.mark.parametrize('ahead', [0.35, 0.5, 0.9])
def test_a_frame_a_little_ahead_costs_little_more_than_itself(ahead: float) -> None:
    """It is within `max_gap`, so that the frames after it would all be late."""
    restarts, odd, resumed, fills = run(with_every_tenth(
        lambda stamp, source: [(stamp + round(ahead * SECOND), source)]))
    assert not restarts and resumed == 6 and not odd
    assert len(fills) == 60 and fills[7:].count(4) >= 53 - 6


def test_frames_that_change_places_resume_nothing() -> None:
    frames = camera()
    for number in range(5, 60, 10):
        frames[number - 1], frames[number] = frames[number], frames[number - 1]
    restarts, odd, resumed, fills = run(frames)
    assert not restarts and not resumed and odd == {Odd.LATE: 6} and set(fills[8:]) == {4}


@pytest.mark.parametrize('offset', [20, 40, 60, 80])
def test_late_clock_of_a_second_publisher_resumes_nothing(offset: int) -> None:
    frames = [frame for stamp, source in camera()
              for frame in ((stamp, source), (stamp - offset * 10**6, source))]
    restarts, odd, resumed, fills = run(frames)
    assert not restarts and not resumed and odd == {Odd.LATE: 60} and set(fills[7:]) == {4}


def test_lost_frames_are_no_wrong_stamps() -> None:
    frames = [frame for number, frame in enumerate(camera()) if number % 10 not in (5, 6, 7)]
    restarts, odd, resumed, _ = run(frames)
    assert not restarts and not resumed and not odd


def test_every_frame_twice_is_every_frame_once() -> None:
    frames = [frame for frame in camera() for _ in range(2)]
    restarts, odd, _, fills = run(frames)
    assert not restarts and odd == {Odd.REPEATED: 60} and len(fills) == 60


def test_two_publishers_on_one_topic() -> None:
    """Of two cameras that alternate, the first one is kept."""
    frames = sorted([*camera(), *((stamp + PERIOD // 2, 'rear') for stamp, _ in camera())])
    restarts, odd, _, fills = run(frames)
    assert not restarts and odd == {Odd.OTHER_SOURCE: 60} and set(fills[7:]) == {4}
    # The same with one frame_id and a late clock.
    frames = [frame for stamp, source in camera()
              for frame in ((stamp, source), (stamp - 40_000_000, source))]
    restarts, odd, _, fills = run(frames)
    assert not restarts and odd == {Odd.LATE: 60} and set(fills[7:]) == {4}
    # And with clocks that are far apart.
    frames = [frame for stamp, source in camera()
              for frame in ((stamp, source), (stamp - 100 * SECOND, source))]
    restarts, odd, _, fills = run(frames)
    assert not restarts and odd == {Odd.LATE: 60} and set(fills[7:]) == {4}


def test_stamps_that_stand_still_are_one_frame() -> None:
    restarts, odd, _, fills = run([(0, 'front')] * 20)
    assert not restarts and odd == {Odd.REPEATED: 19} and fills == [1]


@pytest.mark.parametrize(('frames', 'reason', 'lost'), [
    ([(stamp - 20 * SECOND, source) for stamp, source in camera(10)], Restart.WENT_BACK,
     LASTING_FRAMES - 1),
    ([(stamp + 20 * SECOND, source) for stamp, source in camera(10)], Restart.GAP, 0),
    ([(stamp + 6 * SECOND, 'rear') for stamp, _ in camera(10)], Restart.SOURCE_CHANGED,
     LASTING_FRAMES - 1),
    ([(number * PERIOD, 'front') for number in range(10)], Restart.WENT_BACK,
     LASTING_FRAMES - 1),
])
def test_what_lasts_restarts_once(frames: list[Frame], reason: Restart, lost: int) -> None:
    restarts, odd, resumed, fills = run(camera() + frames)
    assert restarts == {reason: 1} and sum(odd.values()) == lost and not resumed
    assert fills[60:] == [1, 2, 2, 3, 3, 4, 4, 4, 4, 4][:10 - lost]


def test_a_slow_camera_is_never_silent() -> None:
    restarts, odd, _, fills = run([(EPOCH + number * 2 * SECOND, 'front') for number in range(9)])
    assert restarts == {Restart.GAP: 8} and not odd and fills == [1] * 9


def test_verdicts_name_figures_apart_from_reasons() -> None:
    gate = FrameGate(1.0)
    assert gate.check(EPOCH, 'front').restart is None
    gap = gate.check(EPOCH + 1_000_000_001, 'front')
    assert (gap.restart, gap.detail) == (Restart.GAP, 'of 1.000 s (more than 1 s)')
    late = gate.check(EPOCH - 2 * SECOND, 'front')
    assert (late.odd, late.detail) == (Odd.LATE, 'by 3.000 s')
    other = gate.check(EPOCH + 1_100_000_000, 'rear')
    assert (other.odd, other.detail) == (Odd.OTHER_SOURCE, 'from front to rear')
    gate.reset(Restart.REQUESTED)
    assert gate.check(EPOCH, 'rear').restart is Restart.REQUESTED
    assert gate.check(EPOCH + PERIOD, 'rear').restart is None


def test_the_stamp_of_a_frame_that_failed_may_come_again() -> None:
    gate = FrameGate(1.0)
    gate.check(EPOCH, 'front')
    assert gate.check(EPOCH, 'front').odd is Odd.REPEATED
    assert gate.check(EPOCH, 'front', again=True).odd is None
    assert gate.check(EPOCH - 1, 'front', again=True).odd is Odd.LATE
