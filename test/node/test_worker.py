# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker and its mailbox: the newest frame wins, and nothing blocks."""

from __future__ import annotations

import threading

import numpy as np

from deltaworld_ros.forecast.frame_gate import Restart, Verdict
from deltaworld_ros.node.mailbox import Batch, Mailbox, WaitingFrame
from deltaworld_ros.node.worker import FrameWorker


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
