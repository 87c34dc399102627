# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The chain context: which frames are joined, when it restarts, and that it stays small."""

from __future__ import annotations

import numpy as np
import pytest

from deltaworld_ros.forecast.context import MAX_FEATURES, ContextChain
from deltaworld_ros.forecast.frame_gate import FrameGate

STRIDE = 0.2
STRIDE_NS = 200_000_000
LENGTH = 4
EPOCH_NS = 1_700_000_000 * 10 ** 9
TOKEN = np.zeros(3, np.float32)


def feed(chain: ContextChain, stamp_ns: int) -> None:
    predecessor = chain.predecessor(stamp_ns)
    chain.append(stamp_ns, f'features of {stamp_ns}', TOKEN, TOKEN, predecessor)


def camera(rate: float, seconds: float, jitter: float, drops: float, seed: int) -> list[int]:
    """Return increasing stamps in nanoseconds; jitter is a share of the period."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    times = (np.arange(count) + jitter * rng.uniform(-0.5, 0.5, count)) / rate
    kept = times[rng.random(count) >= drops]
    return [EPOCH_NS + round(time * 1e9) for time in np.sort(kept)]


@pytest.mark.parametrize('rate', [5, 10, 12.5, 25, 30, 60])
@pytest.mark.parametrize('jitter, drops', [(0, 0), (0.4, 0), (0.4, 0.1), (0.8, 0.3)])
@pytest.mark.parametrize('seed', range(5))
def test_every_link_joins_the_nearest_frame(
        rate: float, jitter: float, drops: float, seed: int) -> None:
    chain, gate = ContextChain(STRIDE, LENGTH), FrameGate(1.0)
    seen: list[int] = []
    predecessor_of: dict[int, int | None] = {}
    full = 0
    for stamp in camera(rate, 6, jitter, drops, seed):
        verdict = gate.check(stamp, 'front')
        if verdict.restart:
            chain.begin(verdict.restart)
            seen.clear()
        feed(chain, stamp)
        # The definition, by brute force over every frame since the last restart.
        ages = [(abs(stamp - earlier - STRIDE_NS), stamp - earlier) for earlier in seen
                if STRIDE_NS // 2 <= stamp - earlier <= STRIDE_NS * 3 // 2]
        predecessor_of[stamp] = stamp - min(ages)[1] if ages else None
        seen.append(stamp)
        expected = [stamp]
        while predecessor_of[expected[0]] is not None and len(expected) < LENGTH:
            expected.insert(0, predecessor_of[expected[0]])
        assert [link.stamp_ns for link in chain.context()] == expected
        full += len(expected) == LENGTH
        assert len(chain._links) <= LENGTH * 1.5 * STRIDE * rate * 1.5 + LENGTH
        held = [link for link in chain._links.values() if link.features is not None]
        assert all(stamp - link.stamp_ns <= STRIDE_NS * 3 // 2 for link in held)
    if not drops and jitter < 0.5:
        # 5 Hz needs three strides, and jitter must stay within half a stride.
        assert full >= len(seen) - np.ceil((LENGTH - 1) * STRIDE * rate * 1.5)
    elif rate >= 25:
        assert full > 0.6 * len(predecessor_of)


@pytest.mark.parametrize('rate', [10, 30, 60])
def test_every_frame_makes_a_forecast_once_full(rate: float) -> None:
    chain = ContextChain(STRIDE, LENGTH)
    fills = []
    for stamp in camera(rate, 3, 0, 0, 0):
        feed(chain, stamp)
        fills.append(len(chain.context()))
    first = fills.index(LENGTH)
    assert first <= np.ceil((LENGTH - 1) * STRIDE * rate)
    assert set(fills[first:]) == {LENGTH}
    stamps = [link.stamp_ns for link in chain.context()]
    np.testing.assert_allclose(np.diff(stamps), STRIDE_NS, atol=2)


def test_limits_of_a_predecessor() -> None:
    for age_ns, joined in ((99_999_999, False), (100_000_000, True), (200_000_000, True),
                           (300_000_000, True), (300_000_001, False)):
        chain = ContextChain(STRIDE, LENGTH)
        feed(chain, EPOCH_NS)
        feed(chain, EPOCH_NS + age_ns)
        assert (len(chain.context()) == 2) is joined, age_ns


def test_newer_of_two_equally_near() -> None:
    chain = ContextChain(STRIDE, LENGTH)
    for milliseconds in (0, 80, 240):
        feed(chain, EPOCH_NS + milliseconds * 1_000_000)
    # 240 - 0 and 240 - 80 are both 40 ms off the stride.
    assert [link.stamp_ns - EPOCH_NS for link in chain.context()] == [80_000_000, 240_000_000]


def test_waiting_frames_make_a_chain_where_none_exists() -> None:
    """After a forecast that took 5 strides, a few of the frames that came meanwhile are enough."""
    chain = ContextChain(STRIDE, LENGTH)
    for number in range(LENGTH):
        feed(chain, EPOCH_NS + number * STRIDE_NS)
    newest = EPOCH_NS + (LENGTH - 1) * STRIDE_NS
    waiting = [newest + number * STRIDE_NS // 2 for number in range(1, 11)]
    needed = chain.needed(waiting)
    assert needed == [waiting[number] for number in (3, 5, 7, 9)]
    for stamp in needed:
        feed(chain, stamp)
    assert [link.stamp_ns for link in chain.context()] == needed
    # Where a link that exists can be the predecessor, nothing but the newest frame is needed.
    waiting = [needed[-1] + number * STRIDE_NS // 4 for number in (1, 2, 3, 4, 5, 6)]
    assert chain.needed(waiting) == waiting[-1:]
    # The first of a chain need not be a stride away from the last link: half to one and a half.
    waiting = [needed[-1] + number * STRIDE_NS // 2 for number in (2, 4)]
    assert chain.needed(waiting) == waiting
    assert chain.needed([needed[-1] + 3 * STRIDE_NS]) == [needed[-1] + 3 * STRIDE_NS]


def test_memory_is_bounded_when_stamps_hardly_advance() -> None:
    chain = ContextChain(STRIDE, LENGTH)
    for step in range(2000):
        feed(chain, EPOCH_NS + step)
    assert len(chain._links) <= MAX_FEATURES * LENGTH
    held = [link for link in chain._links.values() if link.features is not None]
    assert len(held) == MAX_FEATURES
    assert held[-1] is chain.newest


def test_memory_is_bounded_over_a_long_drive() -> None:
    chain = ContextChain(STRIDE, LENGTH)
    largest = 0
    for stamp in camera(30, 1200, 0.3, 0.02, 1):
        feed(chain, stamp)
        largest = max(largest, len(chain._links))
    assert largest <= (LENGTH - 1) * 1.5 * STRIDE * 30 + 2
