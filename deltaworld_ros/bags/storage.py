# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every kind of bag file offers: topics, messages in the order of time, and what was lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol


class Topic(NamedTuple):
    """A topic of a bag: its name, its message type (`pkg/msg/Name`) and number of messages."""

    topic: str
    msgtype: str
    msgcount: int


class Message(NamedTuple):
    """A message of a bag: topic, log time in ns, serialised bytes."""

    topic: Topic
    time: int
    data: bytes


class Losses:
    """Damaged parts of a file, each counted once however often the file is read."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy
        self._places: dict[object, str] = {}

    def add(self, place: object, reason: Exception | str) -> None:
        """Note a part that cannot be read, and why."""
        text = ' '.join(str(reason).split()) or type(reason).__name__
        self._places.setdefault(place, text[:160])

    def summary(self) -> str:
        """Return a line that says what was lost and what helps; empty where nothing was."""
        if not self._places:
            return ''
        first = next(iter(self._places.values()))
        number = len(self._places)
        parts = 'a damaged part was' if number == 1 else f'{number} damaged parts were'
        return f'{parts} left out ({first}); {self._remedy}'


class Storage(Protocol):
    """
    One bag file, open for reading.

    `start` and `end` are the first and the last log time in ns (0, 0: no messages).
    """

    topics: list[Topic]
    start: int
    end: int
    losses: Losses

    def messages(
        self, topics: Collection[str], start: int | None, stop: int | None,
    ) -> Iterator[Message]:
        """Yield the messages of these topics, log times from `start` until before `stop`."""

    def close(self) -> None:
        """Close the file."""
