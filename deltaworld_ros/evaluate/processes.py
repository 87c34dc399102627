# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Child processes that live no longer than the block that starts them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType

_PATIENCE = 6.0


class Processes:
    """
    A context manager that starts modules of this Python and ends all of them when it is left.

    Each gets its own session, so that a Ctrl-C reaches only the parent, which then ends them in
    order. Their output goes to `<name>.log` in `log_folder`. For the main thread only, since
    signals are held back while a process starts and while all are ended.
    """

    def __init__(self, log_folder: Path, environment: dict[str, str]) -> None:
        self._log_folder = log_folder
        self._environment = environment
        self._started: dict[str, subprocess.Popen[str]] = {}
        log_folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Processes:
        """Return the object itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End every process that still runs, the last started first."""
        with _held_signals():
            for name in reversed(list(self._started)):
                self.end(name)

    def start(self, name: str, module: str, arguments: Sequence[str],
              pipe_output: bool = False) -> subprocess.Popen[str]:
        """Start `python -m module arguments`; with `pipe_output` its stdout is the caller's."""
        with self.log(name).open('w', encoding='utf-8') as log, _held_signals():
            self._started[name] = subprocess.Popen(
                [sys.executable, '-m', module, *arguments], env=self._environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if pipe_output else log,
                stderr=log, start_new_session=True)
        return self._started[name]

    def running(self, name: str) -> bool:
        """Say whether a process that was started still runs."""
        return self._started[name].poll() is None

    def end(self, name: str, patience: float = _PATIENCE) -> int:
        """Interrupt a process, kill it after `patience` seconds, and return its exit code."""
        process = self._started[name]
        for number, seconds in ((signal.SIGINT, patience), (signal.SIGTERM, 2.0)):
            if process.poll() is None:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        if process.poll() is None:
            process.kill()
        return process.wait()

    def log(self, name: str) -> Path:
        """Return the path of a process's log."""
        return self._log_folder / f'{name}.log'

    def last_line(self, name: str) -> str:
        """Return the last line that a process wrote to its log."""
        return self._lines(name)[-1] if self._lines(name) else 'it said nothing'

    def line_with(self, name: str, text: str) -> str | None:
        """Return the first line of a process's log that contains `text`."""
        return next((line for line in self._lines(name) if text in line), None)

    def _lines(self, name: str) -> list[str]:
        text = self.log(name).read_text(encoding='utf-8', errors='replace')
        return [line.strip() for line in text.splitlines() if line.strip()]


@contextlib.contextmanager
def _held_signals() -> Iterator[None]:
    """
    Deliver SIGINT and SIGTERM when the block is left.

    A handler that raises between the start of a process and its entry in the table would leave
    a process that nobody ends. The mask of the thread is no help: children inherit it.
    """
    received: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        received.append(number)

    handlers = {one: signal.signal(one, keep) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
    for number in received:
        signal.raise_signal(number)
