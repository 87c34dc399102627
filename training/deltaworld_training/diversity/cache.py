# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""True futures on disk: searched and rendered once, one npz file a past."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from rich.progress import Progress

from deltaworld_ros.errors import UserError
from deltaworld_training.diversity.futures import TrueFutures, true_futures
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.world import TEST_SEEDS

NOTHING = '.none'  # suffix of the mark that a world has no open past

_worker: tuple[Path, Renderer]  # of this worker process


def save_futures(path: Path, one: TrueFutures) -> None:
    """Write a past with its true futures."""
    arrays = {**vars(one), 'options': np.array(one.options)}
    # Under another name first: a killed process leaves no half-written past behind.
    part = path.with_name(f'part-{path.name}')
    np.savez_compressed(part, **arrays)
    part.replace(path)


def load_futures(path: Path) -> TrueFutures:
    """Read what `save_futures` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return TrueFutures(
            seed=int(archive['seed']), start=float(archive['start']),
            context=archive['context'], futures=archive['futures'],
            probabilities=archive['probabilities'], branches=archive['branches'],
            options=tuple(archive['options'].tolist()), taken=int(archive['taken']))


def cached_futures(folder: Path, count: int) -> Iterator[TrueFutures]:
    """Yield the first `count` pasts of a folder in the order of their seeds."""
    for path in sorted(folder.glob('[0-9]*.npz'))[:count]:
        yield load_futures(path)


def build_futures(
    folder: Path, count: int, size: tuple[int, int], first_seed: int = 0, workers: int = 2,
) -> None:
    """
    Search the test worlds from `first_seed` on until the folder has `count` open pasts.

    Pictures are of `size` (w, h); a folder belongs to one size and first seed. Worlds that were
    searched are not searched again. They are searched in order, so that the first `count` pasts
    do not depend on `workers`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, seed = 0, first_seed
    while found < count and (known := _known(folder, seed)) is not None:
        found, seed = found + known, seed + 1
    if found >= count:
        return
    # 'spawn': a GL context belongs to one process.
    executor = ProcessPoolExecutor(
        workers, multiprocessing.get_context('spawn'), _start, (folder, size))
    with Progress() as progress, executor:
        task = progress.add_task('true futures', total=count, completed=found)
        # A few worlds for each worker between two looks at whether there are enough.
        block = 1 if workers == 1 else 4 * workers
        for first in range(seed, TEST_SEEDS.stop, block):
            for open_past in executor.map(_search, range(first, first + block)):
                found += open_past
                progress.update(task, completed=min(found, count))
            if found >= count:
                return
    raise UserError(f'{folder}: the test worlds from seed {first_seed} on have only {found} open '
                    f'pasts, not {count}')


def _path(folder: Path, seed: int) -> Path:
    return folder / f'{seed:06d}.npz'


def _known(folder: Path, seed: int) -> bool | None:
    """Tell whether a world has an open past; None where it was not searched yet."""
    path = _path(folder, seed)
    return True if path.exists() else False if path.with_suffix(NOTHING).exists() else None


def _start(folder: Path, size: tuple[int, int]) -> None:
    global _worker
    _worker = folder, Renderer(*size)


def _search(seed: int) -> bool:
    folder, renderer = _worker
    known = _known(folder, seed)
    if known is None:
        one = true_futures(seed, renderer)
        known = one is not None
        if one is None:
            _path(folder, seed).with_suffix(NOTHING).touch()
        else:
            save_futures(_path(folder, seed), one)
    return known
