# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Try many malformed inputs in processes of their own: every outcome but a clear refusal is a fault.

A case is a function of a seeded random generator, so that one that fails can be tried again alone.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltaworld_ros.errors import UserError

Case = Callable[[random.Random], object]
# Memory that numbers of all bits set, lengths and sizes, are likely to ask for.
_EXTREMES = (b'\xff' * 4, b'\xff' * 8, b'\0' * 8, b'\xff\xff\xff\x7f', b'\0\0\0\0\1\0\0\0')


@dataclass
class Outcome:
    """What became of the cases: how many of each kind, what failed, and the peak memory in MB."""

    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    peak_mb: float = 0.0


def generator(seed: int, number: int) -> random.Random:
    """Return the generator of one case."""
    return random.Random(seed * 1_000_003 + number)


def fuzz(case: Case, numbers: range, seed: int, *, seconds: int = 30,
         megabytes: int = 1500) -> Outcome:
    """
    Try the cases of these numbers.

    It fails what raises anything but a `UserError` of one line, ends its process, takes longer
    than `seconds`, or raises the peak memory by more than `megabytes`.
    """
    outcome = Outcome()
    todo = numbers
    while todo:
        done = _in_child(case, todo, seed, seconds, megabytes, outcome)
        todo = todo[done:]
    return outcome


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return data that is cut, or changed in one to 64 places: at its ends most of all."""
    changed = bytearray(data)
    if chance.random() < 0.2:
        return bytes(changed[:chance.randrange(len(changed) + 1)])
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if len(changed) < 2:
            break
        near = min(len(changed), 600)
        at = chance.choice((chance.randrange(len(changed)), chance.randrange(near),
                            len(changed) - 1 - chance.randrange(near)))
        kind = chance.randrange(5)
        if kind <= 1:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            extreme = chance.choice((*_EXTREMES, chance.randbytes(8)))
            changed[at:at + len(extreme)] = extreme
        elif kind == 3:
            del changed[at:at + chance.choice((1, 8, 200))]
        else:
            changed[at:at] = chance.randbytes(chance.choice((1, 8, 200)))
    return bytes(changed)


def main(cases: Mapping[str, tuple[Case, int]], megabytes: int = 1500) -> int:
    """Run the cases that each name has by default, or as many as --number says."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--number', type=int, help='cases of each kind')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    arguments = parser.parse_args()
    failed = False
    for name, (case, default) in cases.items():
        began = time.monotonic()
        number = arguments.number or default
        outcome = fuzz(case, range(arguments.first, arguments.first + number), arguments.seed,
                       megabytes=megabytes)
        kinds = ', '.join(f'{count} {kind}' for kind, count in outcome.kinds.most_common())
        print(f'{name}: {number} cases in {time.monotonic() - began:.0f} s: {kinds}; memory grew '
              f'by {outcome.peak_mb:.0f} MB at most', flush=True)
        for failure in outcome.failures[:10]:
            print(failure, file=sys.stderr)
        failed |= bool(outcome.failures)
    return int(failed)


def _in_child(case: Case, numbers: range, seed: int, seconds: int, megabytes: int,
              outcome: Outcome) -> int:
    """Try cases in a new process until one ends it; return how many were tried."""
    place = mmap.mmap(-1, 8)
    with tempfile.TemporaryDirectory(prefix='fuzz_') as folder:
        result = Path(folder) / 'result.json'
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            _try_all(case, numbers, seed, seconds, megabytes, place, result)
        _, status = os.waitpid(child, 0)
        tried = struct.unpack('<q', place[:8])[0]
        told = json.loads(result.read_text()) if result.exists() else {}
    outcome.kinds.update(told.get('kinds', {}))
    outcome.failures += told.get('failures', [])
    outcome.peak_mb = max(outcome.peak_mb, told.get('peak_mb', 0.0))
    code = os.waitstatus_to_exitcode(status)
    if code:
        outcome.failures.append(f'case {numbers[tried]}: its process ended with {code}')
        return tried + 1
    return len(numbers)


def _try_all(case: Case, numbers: range, seed: int, seconds: int, megabytes: int,
             place: mmap.mmap, result: Path) -> None:
    outcome = Outcome()
    before = _peak()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)   # pytest-timeout has a handler of its own
    # libpng and libjpeg complain of every image.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for tried, number in enumerate(numbers):
        place[:8] = struct.pack('<q', tried)
        signal.alarm(seconds)   # ends the process
        peak = _peak()
        try:
            case(generator(seed, number))
            kind = 'read'
        except UserError as error:
            kind = 'refused'
            if '\n' in str(error):
                outcome.failures.append(f'case {number}: more than one line: {error}')
        except BaseException:
            kind = 'failed'
            outcome.failures.append(f'case {number}: {traceback.format_exc(limit=-3)}')
        outcome.kinds[kind] += 1
        if _peak() - before > megabytes and _peak() > peak:
            outcome.failures.append(f'case {number}: memory grew by {_peak() - before:.0f} MB')
    signal.alarm(0)
    outcome.peak_mb = _peak() - before
    result.write_text(json.dumps(vars(outcome)))
    os._exit(0)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
