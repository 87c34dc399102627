# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One worker thread with a mailbox: a forecast is made from the newest frame, nothing queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deltaworld_ros.forecast.frame_gate import Restart, Verdict
from deltaworld_ros.node.mailbox import Batch, Mailbox, WaitingFrame

STOP_SECONDS = 2.0   # for the batch in work to end
WORKER_NAME = 'forecast worker'


class FrameWorker:
    """
    Calls `process` in its own thread with the frames that wait.

    `process` must not raise. A worker runs once: make another after `stop`.
    """

    def __init__(self, process: Callable[[Batch], None], mailbox: Mailbox) -> None:
        self._process = process
        self._mailbox = mailbox
        self._condition = threading.Condition()
        self._stopping = False
        self._began: float | None = None
        self._thread = threading.Thread(target=self._run, name=WORKER_NAME, daemon=True)
        self._thread.start()

    @property
    def seconds_in_work(self) -> float:
        """Return for how long the batch in work has been so, 0 where there is none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def put(self, frame: WaitingFrame, verdict: Verdict) -> int:
        """Hand over a frame without waiting; return how many it displaced that still waited."""
        with self._condition:
            displaced = self._mailbox.put(frame, verdict)
            self._condition.notify()
        return displaced

    def clear(self, restart: Restart) -> int:
        """Forget what waits, and begin a new context; return how many frames waited."""
        with self._condition:
            return self._mailbox.clear(restart)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Forget what waits and end the thread; False where its work does not end in time."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._mailbox or self._stopping)
                if self._stopping:
                    return
                batch = self._mailbox.take()
                self._began = time.monotonic()
            self._process(batch)
            self._began = None
            del batch   # frames are large: do not keep them until the next ones come
