# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames continue a context, which are left out, and when a new context begins."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

# So many frames in a row that fit each other, but not the context, begin a new one.
LASTING_FRAMES = 3
# A step of more than this many usual ones may be a wrong stamp.
_JUMP = 1.5


class Restart(Enum):
    """Why a context begins anew."""

    WENT_BACK = 'the stamp went back'
    GAP = 'a gap'
    SOURCE_CHANGED = 'the image source changed'
    REQUESTED = 'reset_context was called'
    DEACTIVATED = 'the node was deactivated'
    CLOCK_JUMPED = 'the clock jumped back'
    ENDED = 'the recording ended'


class Odd(Enum):
    """Why a single frame is left out of a context that goes on without it."""

    REPEATED = 'repeated stamp'
    LATE = 'stamp before the newest'
    AHEAD = 'stamp too far ahead'
    OTHER_SOURCE = 'another image source'


@dataclass(frozen=True)
class Verdict:
    """
    Whether a frame is taken: not where it is `odd`.

    `restart` tells that it begins a new context, `resumed` that it continues the context without
    the last frame, which was odd; `undone` is the restart that that one had caused. `detail` holds
    the figures.
    """

    restart: Restart | None = None
    odd: Odd | None = None
    resumed: bool = False
    undone: Restart | None = None
    detail: str = ''


@dataclass(frozen=True)
class _Stream:
    """The newest frame that was taken, and how long after the one before, 0 for the first."""

    newest_ns: int
    source: Hashable
    step_ns: int = 0


class FrameGate:
    """
    Judges frames by stamp and source alone, before anything is computed of them.

    A frame that is not newer than the newest one, or of another source, is left out; when
    `LASTING_FRAMES` of them follow each other instead, a new context begins. A gap of more than
    `max_gap` seconds restarts at once, but where the next frame continues what was before it, so
    does the context; the same holds for a jump ahead that is shorter but longer than the usual
    step. So a repeated, late or misdated frame costs little more than itself.
    """

    def __init__(self, max_gap: float) -> None:
        self._max_gap_ns = round(max_gap * 1e9)
        self._stream: _Stream | None = None
        # Before the newest frame, where that one's stamp may be wrong, and what it restarted.
        self._before: _Stream | None = None
        self._jump: Restart | None = None
        # The frames left out lately: source and stamp of the last one, and how many fit in a row.
        self._other: tuple[Hashable, int, int] | None = None
        self._reset_reason: Restart | None = None

    def check(self, stamp_ns: int, source: Hashable, *, again: bool = False) -> Verdict:
        """
        Judge the next frame by its stamp (ns) and what must not change within a context.

        `again` lets the newest stamp pass once more: its frame could not be used.
        """
        stream = self._stream
        if stream is None:
            return self._take(stamp_ns, source, Verdict(self._reset_reason))
        if self._goes_on_without(stream, stamp_ns, source):
            self._stream = self._before
            return self._take(stamp_ns, source, Verdict(resumed=True, undone=self._jump))
        ahead = stamp_ns - stream.newest_ns
        if source != stream.source:
            odd, restart = Odd.OTHER_SOURCE, Restart.SOURCE_CHANGED
            detail = f'from {stream.source} to {source}'
        elif ahead == 0 and not again:
            return Verdict(odd=Odd.REPEATED)
        elif ahead < 0:
            odd, restart, detail = Odd.LATE, Restart.WENT_BACK, f'by {-ahead * 1e-9:.3f} s'
        elif ahead > self._max_gap_ns:
            detail = f'of {ahead * 1e-9:.3f} s (more than {self._max_gap_ns * 1e-9:g} s)'
            return self._take(stamp_ns, source, Verdict(Restart.GAP, detail=detail))
        else:
            return self._take(stamp_ns, source, Verdict())
        if self._lasts(stamp_ns, source):
            return self._take(stamp_ns, source, Verdict(restart, detail=detail))
        return Verdict(odd=odd, detail=detail)

    def reset(self, reason: Restart | None = None) -> None:
        """Begin a new context with the next frame, whose verdict holds the reason."""
        self._stream = self._before = self._other = None
        self._reset_reason = reason

    def _goes_on_without(self, newest: _Stream, stamp_ns: int, source: Hashable) -> bool:
        """Return whether a frame continues what was before the newest one, which was misdated."""
        before = self._before
        if before is None or source != before.source:
            return False
        step, jump = stamp_ns - before.newest_ns, newest.newest_ns - before.newest_ns
        # In a shorter jump a frame may just be late: it is nearer to what was before only then.
        return 0 < step < jump and step <= self._max_gap_ns and (
            self._jump is Restart.GAP or 2 * step < jump)

    def _take(self, stamp_ns: int, source: Hashable, verdict: Verdict) -> Verdict:
        stream = self._stream
        step = 0
        self._before = None
        if stream is not None and verdict.restart in (None, Restart.GAP):
            step = stamp_ns - stream.newest_ns
            if verdict.restart is Restart.GAP or step > _JUMP * stream.step_ns > 0:
                self._before, self._jump = stream, verdict.restart
        self._stream = _Stream(stamp_ns, source, 0 if verdict.restart else step)
        self._other = self._reset_reason = None
        return verdict

    def _lasts(self, stamp_ns: int, source: Hashable) -> bool:
        """Count a frame that does not fit, and tell whether it is the last of enough in a row."""
        count = 1
        if self._other is not None:
            other_source, other_ns, other_count = self._other
            if source == other_source and 0 <= stamp_ns - other_ns <= self._max_gap_ns:
                # A repeated stamp tells nothing new.
                count = other_count + (stamp_ns > other_ns)
        self._other = (source, stamp_ns, count)
        return count >= LASTING_FRAMES
