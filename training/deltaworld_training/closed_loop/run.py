# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run paired episodes, one world for every kind of information, and go on where a run ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.progress import Progress

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_training.closed_loop.ego import EGO
from deltaworld_training.closed_loop.episode import Record, run_episode
from deltaworld_training.closed_loop.information import KINDS, Observer
from deltaworld_training.closed_loop.scenarios import prepare
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.world import StreetWorld

# Of the test split, and used for nothing else.
FIRST_SEED = 50_000
_MIN_SPEED = 5.0   # m/s; worlds in which the ego waits are passed over


def run_closed_loop(bundle_name: str, folder: Path, episodes: int, first_seed: int = FIRST_SEED,
                    kinds: Sequence[str] = KINDS) -> list[Record]:
    """
    Run worlds from `first_seed` on until `episodes` of them were driven with every kind.

    Every world is a line in `folder`/episodes.jsonl, so that a run that was stopped goes on. A
    folder belongs to one bundle; raise `UserError` for another, and for one of other classes.
    """
    bundle = load_bundle(bundle_name)
    names = [entry.name for entry in bundle.manifest.classes]
    if names != [entry.name for entry in STREET]:
        raise UserError(f'{bundle.path}: has the classes {", ".join(names)[:200]}; the street '
                        "world's are needed, as in street-lite0")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'episodes.jsonl'
    _check_bundle(folder / 'bundle.json', bundle.manifest.files)
    done = _read(path)
    manifest = bundle.manifest
    engine = load_engine(bundle, single_leads=True)   # some drives need the present alone
    renderer = Renderer(manifest.image_width, manifest.image_height)
    seed = first_seed
    records: list[Record] = []
    with Progress() as progress:
        task = progress.add_task('worlds', total=episodes)
        while len(records) < episodes * len(kinds):
            if seed not in done:
                done[seed] = _drive(seed, kinds, lambda kind: Observer(
                    kind, engine, manifest, renderer), renderer)
                _append(path, seed, done[seed])
            records += done[seed]
            progress.update(task, completed=len(records) // len(kinds))
            seed += 1
    return records


def _drive(seed: int, kinds: Sequence[str], observer: Callable[[str], Observer],
           renderer: Renderer) -> list[Record]:
    """Return the records of a world, none where the ego waits."""
    world = StreetWorld(seed)
    if world.vehicles.v[EGO] < _MIN_SPEED:
        return []
    scenario = prepare(world, np.random.default_rng((seed, 4)))
    beginning = world.snapshot()
    return [run_episode(world, beginning, scenario, observer(kind), renderer, kind)
            for kind in kinds]


def _check_bundle(path: Path, files: dict[str, str]) -> None:
    if not path.exists():
        path.write_text(json.dumps(files, indent=1))
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
    with path.open('a') as file:
        file.write(json.dumps(row) + '\n')
