# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames continue a context, which are left out, and when a new context begins."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

# So many frames in a row that fit each other, but not the context, begin a new one.
LASTING_FRAMES = 3


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

    `restart` tells that it begins a new context, `resumed` that it continues the context before
    the last restart: the frame that restarted it was odd. `detail` holds the figures.
    """

    restart: Restart | None = None
    odd: Odd | None = None
    resumed: bool = False
    detail: str = ''


@dataclass(frozen=True)
class _Stream:
    """The newest frame that was taken."""

    newest_ns: int
    source: Hashable


class FrameGate:
    """
    Judges frames by stamp and source alone, before anything is computed of them.

    A frame that is not newer than the newest one, or of another source, is left out; when
    `LASTING_FRAMES` of them follow each other instead, a new context begins. A gap of more than
    `max_gap` seconds restarts at once, but where the next frame continues what was before it, so
    does the context. So a repeated, late or misdated frame costs only itself.
    """

    def __init__(self, max_gap: float) -> None:
        self._max_gap_ns = round(max_gap * 1e9)
        self._stream: _Stream | None = None
        self._before_gap: _Stream | None = None
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
        if self._continues(self._before_gap, stamp_ns, source) and stamp_ns < stream.newest_ns:
            return self._take(stamp_ns, source, Verdict(resumed=True))
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
        self._stream = self._before_gap = self._other = None
        self._reset_reason = reason

    def _continues(self, stream: _Stream | None, stamp_ns: int, source: Hashable) -> bool:
        return stream is not None and source == stream.source \
            and 0 < stamp_ns - stream.newest_ns <= self._max_gap_ns

    def _take(self, stamp_ns: int, source: Hashable, verdict: Verdict) -> Verdict:
        self._before_gap = self._stream if verdict.restart is Restart.GAP else None
        self._stream = _Stream(stamp_ns, source)
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
