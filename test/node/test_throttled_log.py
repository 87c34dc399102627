# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A log that a bad stream of messages cannot flood."""

from __future__ import annotations

import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.throttled_log import ThrottledLog, clip, kind_of


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
