# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run paired episodes, one world for every kind of information, and go on where a run ended."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
from rich.progress import Progress

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_training.closed_loop.cache import CachedEngine, CachedFrames
from deltaworld_training.closed_loop.ego import EGO
from deltaworld_training.closed_loop.episode import Record, Watch, run_episode
from deltaworld_training.closed_loop.information import KINDS, Observer
from deltaworld_training.closed_loop.scenarios import prepare
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.world import StreetWorld

# Of the test split, and used for nothing else.
FIRST_SEED = 50_000
_MIN_SPEED = 5.0   # m/s; worlds in which the ego waits are passed over


def run_closed_loop(bundle_name: str, folder: Path, episodes: int, first_seed: int = FIRST_SEED,
                    kinds: Sequence[str] = KINDS, jobs: int = 0) -> list[Record]:
    """
    Run worlds from `first_seed` on until `episodes` of them were driven with every kind.

    Every world is a line in `folder`/episodes.jsonl, so that a run that was stopped goes on. The
    worlds and what comes of them do not depend on `jobs`, the number of processes (0: one a core).
    A folder belongs to one bundle; raise `UserError` for another, and for one of other classes.
    """
    bundle = street_bundle(bundle_name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'episodes.jsonl'
    _check_bundle(folder / 'bundle.json', bundle.manifest.files)
    done = _read(path)
    records: list[Record] = []
    with Progress() as progress:
        task = progress.add_task('worlds', total=episodes)
        worlds = _worlds(
            bundle_name, kinds, first_seed, done, jobs or len(os.sched_getaffinity(0)))
        for seed, found in worlds:
            if seed not in done:
                _append(path, seed, found)
            records += found
            progress.update(task, completed=len(records) // len(kinds))
            if len(records) >= episodes * len(kinds):
                worlds.close()
                break
    return records


def street_bundle(name: str) -> Bundle:
    """Return a bundle of the street world's classes; raise `UserError` for one of others."""
    bundle = load_bundle(name)
    names = [entry.name for entry in bundle.manifest.classes]
    if names != [entry.name for entry in STREET]:
        raise UserError(f'{bundle.path}: has the classes {", ".join(names)[:200]}; the street '
                        "world's are needed, as in street-lite0")
    return bundle


class Driver:
    """Drives worlds in one process, which has one OpenGL context."""

    def __init__(self, bundle_name: str) -> None:
        bundle = street_bundle(bundle_name)
        self._manifest = manifest = bundle.manifest
        # Some drives need the present alone. Processes use the cores, not threads.
        self._engine = load_engine(bundle, threads=1, single_leads=True)
        self._renderer = Renderer(manifest.image_width, manifest.image_height)

    def drive(self, seed: int, kinds: Sequence[str],
              watch: Callable[[str], Watch] | None = None) -> list[Record]:
        """Return the records of a world, none where the ego waits; `watch` is asked for a kind."""
        world = StreetWorld(seed)
        if world.vehicles.v[EGO] < _MIN_SPEED:
            return []
        scenario = prepare(world, np.random.default_rng((seed, 4)))
        beginning = world.snapshot()
        engine, frames = CachedEngine(self._engine), CachedFrames(self._renderer)
        return [run_episode(
            world, beginning, scenario, Observer(kind, engine, self._manifest, frames), frames,
            kind, watch(kind) if watch else None) for kind in kinds]


def _worlds(bundle_name: str, kinds: Sequence[str], first_seed: int,
            done: dict[int, list[Record]], jobs: int,
            ) -> Generator[tuple[int, list[Record]], None, None]:
    """Yield seeds in order and their records; those that are not done are driven."""
    seeds = count(first_seed)
    if jobs == 1:
        driver: Driver | None = None
        for seed in seeds:
            if seed in done:
                yield seed, done[seed]
                continue
            driver = driver or Driver(bundle_name)
            yield seed, driver.drive(seed, kinds)
    # 'spawn': a GL context belongs to one process. No process starts before a world is driven.
    ahead: deque[tuple[int, list[Record] | Future[list[Record]]]] = deque()
    executor = ProcessPoolExecutor(
        jobs, multiprocessing.get_context('spawn'), _start, (bundle_name,))
    try:
        while True:
            # A few worlds ahead, so that a long one holds up nobody.
            while len(ahead) < 2 * jobs:
                seed = next(seeds)
                ahead.append((seed, done[seed] if seed in done else executor.submit(
                    _drive, seed, tuple(kinds))))
            seed, found = ahead.popleft()
            yield seed, found.result() if isinstance(found, Future) else found
    finally:
        executor.shutdown(cancel_futures=True)


_driver: Driver  # of a worker process


def _start(bundle_name: str) -> None:
    global _driver
    _driver = Driver(bundle_name)


def _drive(seed: int, kinds: Sequence[str]) -> list[Record]:
    return _driver.drive(seed, kinds)


def _check_bundle(path: Path, files: dict[str, str]) -> None:
    if not path.exists():
        write_whole(path, json.dumps(files, indent=1))
    elif json.loads(path.read_text()) != files:
        raise UserError(f'{path.parent}: holds episodes of another bundle; give a new folder')


def _read(path: Path) -> dict[int, list[Record]]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:   # the last line of a run that was killed
            continue
        found[int(row['seed'])] = [Record(**one) for one in row['records']]
    return found


def _append(path: Path, seed: int, records: Sequence[Record]) -> None:
    row = {'seed': seed, 'records': [dataclasses.asdict(one) for one in records]}
    with path.open('a+') as file:
        # The last line of a run that was killed may be half a line.
        file.seek(max(0, file.tell() - 1))
        half = file.read() not in ('', '\n')
        file.write('\n' * half + json.dumps(row) + '\n')
