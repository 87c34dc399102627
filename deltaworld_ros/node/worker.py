# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One worker thread with a mailbox for one frame: the newest frame wins, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestItemWorker(Generic[Item]):
    """
    Calls `process` in its own thread with the newest item that was put.

    `process` must not raise. A worker runs once: make another after `stop`.
    """

    def __init__(self, process: Callable[[Item], None]) -> None:
        self._process = process
        self._condition = threading.Condition()
        self._waiting: list[Item] = []   # none or one
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='forecast worker', daemon=True)
        self._thread.start()

    def put(self, item: Item) -> bool:
        """Hand over an item without waiting; True when it displaced one that still waited."""
        with self._condition:
            displaced = bool(self._waiting)
            self._waiting[:] = [item]
            self._condition.notify()
        return displaced

    def clear(self) -> bool:
        """Forget the item that waits; True if there was one."""
        with self._condition:
            waited = bool(self._waiting)
            self._waiting.clear()
        return waited

    def stop(self) -> None:
        """Finish the item in work, forget the one that waits, and end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.pop()
            self._process(item)
            del item   # a frame is large: do not keep it until the next one comes
