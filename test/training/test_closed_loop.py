# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The closed loop: an ego under control, forced scenarios, what is measured, and resumed runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deltaworld_ros.errors import UserError
from deltaworld_ros.planning.governor import Scene
from deltaworld_ros.planning.obstacles import Obstacles
from deltaworld_training.closed_loop.animation import animate, chosen_worlds, from_above
from deltaworld_training.closed_loop.ego import EGO, drive, planned_speed
from deltaworld_training.closed_loop.episode import Record
from deltaworld_training.closed_loop.information import KINDS, TRUTH, mount, twist
from deltaworld_training.closed_loop.measures import MAX_SECONDS, contact
from deltaworld_training.closed_loop.report import tables
from deltaworld_training.closed_loop.run import Driver, run_closed_loop
from deltaworld_training.closed_loop.scenarios import (
    BRAKING,
    CALM,
    CROSSING,
    CUT_IN,
    SCENARIOS,
    Scenario,
    prepare,
    trigger,
)
from deltaworld_training.street.pedestrians import CROSS
from deltaworld_training.street.world import StreetWorld

SEED = 60_002   # a town with pedestrians


@pytest.fixture(scope='module')
def made() -> tuple[StreetWorld, object]:
    world = StreetWorld(SEED)
    return world, world.snapshot()


@pytest.fixture
def world(made: tuple[StreetWorld, object]) -> StreetWorld:
    made[0].restore(made[1])   # type: ignore[arg-type]
    return made[0]


def chosen(world: StreetWorld, name: str) -> Scenario:
    """Prepare the world until the wanted scenario is drawn."""
    beginning = world.snapshot()
    for number in range(60):
        world.restore(beginning)
        scenario = prepare(world, np.random.default_rng(number))
        if scenario.name == name:
            return scenario
    raise AssertionError(f'the world offers no {name}')


def test_the_ego_goes_as_it_is_told_and_no_harder_than_it_can(world: StreetWorld) -> None:
    start = float(world.vehicles.v[EGO])
    drive(world, 0.0, 5)
    assert world.vehicles.v[EGO] == pytest.approx(start - 0.5 * 5.0)
    drive(world, 0.0, 30)
    stood = float(world.vehicles.s[EGO])
    drive(world, 0.0, 5)
    assert world.vehicles.v[EGO] == 0 and world.vehicles.s[EGO] == stood
    drive(world, 10.0, 10)
    assert world.vehicles.v[EGO] == pytest.approx(1.8)
    assert 0 < planned_speed(world) <= world.vehicles.desired[EGO]


def test_a_pedestrian_steps_out_although_it_is_not_safe(world: StreetWorld) -> None:
    scenario = chosen(world, CROSSING)
    speed = float(world.vehicles.v[EGO])
    drive(world, speed, round(10 * scenario.time))
    assert world.walkers.mode[scenario.agent] != CROSS
    trigger(world, scenario)
    assert world.walkers.mode[scenario.agent] == CROSS
    least = MAX_SECONDS
    for _ in range(40):
        drive(world, planned_speed(world), 1)
        least = min(least, contact(world).time_to_collision)
    assert least < 1.5


def test_a_collision_is_measured_ahead_only(world: StreetWorld) -> None:
    walkers, vehicles = world.walkers, world.vehicles
    vehicles.select(np.arange(len(vehicles)) == EGO)
    pose = vehicles.poses(world.routes)[EGO]
    road = world.layout.main.points[:, :2]

    def put(ahead: float) -> None:
        place = pose[:2] + ahead * np.array([np.cos(pose[3]), np.sin(pose[3])])
        s = float(((road - place) ** 2).sum(1).argmin())
        offset = np.linspace(-8, 8, 321)
        t = offset[((world.layout.main.at(np.full(321, s), offset)[:, :2] - place) ** 2)
                   .sum(1).argmin()]
        walkers.s[:], walkers.t[:], walkers.v[:] = s, t, 0.0

    speed = float(vehicles.v[EGO])
    put(20.0)
    found = contact(world)
    assert found.impact_speed is None
    assert found.time_to_collision == pytest.approx(
        (20 - 0.5 * vehicles.length[EGO] - 0.25) / speed, rel=0.1)
    put(0.5 * float(vehicles.length[EGO]))
    assert contact(world).impact_speed == pytest.approx(speed)
    put(-5.0)
    assert contact(world).impact_speed is None


def test_leads_brake_and_neighbours_cut_in() -> None:
    """Both need other traffic than the town's: worlds are searched."""
    seen = set()
    for seed in range(60_000, 60_012):
        world = StreetWorld(seed)
        beginning = world.snapshot()
        for number in range(8):
            world.restore(beginning)
            scenario = prepare(world, np.random.default_rng(number))
            if scenario.name in seen or scenario.name in (CALM, CROSSING):
                continue
            seen.add(scenario.name)
            i = scenario.agent
            assert world.vehicles.s[i] > world.vehicles.s[EGO]
            before = world.vehicles.poses(world.routes)[i]
            trigger(world, scenario)
            np.testing.assert_allclose(world.vehicles.poses(world.routes)[i, :2], before[:2],
                                       atol=0.6)
            speed = float(world.vehicles.v[i])
            drive(world, 3.0, 25)
            if scenario.name == BRAKING:
                assert world.vehicles.v[i] < 0.5 * speed
            else:
                assert scenario.name == CUT_IN
                assert abs(world.vehicles.lateral(world.vehicles.s)[0][i]) < 0.5
        if len(seen) == 2:
            return
    raise AssertionError(f'only {seen} were offered')


def test_the_camera_on_the_ego(world: StreetWorld) -> None:
    pose = mount(world)
    assert pose.translation[2] == pytest.approx(world.camera.height, abs=0.2)
    np.testing.assert_allclose(pose.rotation @ [0, 0, 1], [1, 0, 0], atol=0.15)
    assert twist(world).speed == world.vehicles.v[EGO]


def test_a_run_goes_on_where_it_ended(tmp_path: Path, tiny_bundle: Path) -> None:
    first = run_closed_loop('street-lite0', tmp_path, 1, SEED, [TRUTH], jobs=1)
    lines = (tmp_path / 'episodes.jsonl').read_text()
    assert len(first) == 1 and first[0].kind == TRUTH
    (tmp_path / 'episodes.jsonl').write_text(lines + '{"seed": 60003, "rec')
    assert run_closed_loop('street-lite0', tmp_path, 1, SEED, [TRUTH]) == first
    # What one process did is what several do, and what follows half a line is kept.
    two = run_closed_loop('street-lite0', tmp_path, 2, SEED, [TRUTH], jobs=2)
    assert two[:1] == first and two[1].seed > first[0].seed
    before = (tmp_path / 'episodes.jsonl').read_text()
    assert run_closed_loop('street-lite0', tmp_path, 2, SEED, [TRUTH], jobs=1) == two
    assert (tmp_path / 'episodes.jsonl').read_text() == before
    with pytest.raises(UserError, match='classes'):
        run_closed_loop(str(tiny_bundle), tmp_path, 1, SEED, [TRUTH])
    (tmp_path / 'bundle.json').write_text('{}')
    with pytest.raises(UserError, match='another bundle'):
        run_closed_loop('street-lite0', tmp_path, 1, SEED, [TRUTH])


def test_an_episode_is_shown(tmp_path: Path, world: StreetWorld) -> None:
    driver, path = Driver('street-lite0'), tmp_path / 'episode.webp'
    records = driver.drive(SEED, [TRUTH])
    animate(driver, SEED, path, [TRUTH])
    assert driver.drive(SEED, [TRUTH]) == records   # who watches changes nothing
    with Image.open(path) as film:
        assert film.n_frames >= 10
    assert path.stat().st_size < 60_000


def test_the_view_from_above(world: StreetWorld) -> None:
    """The ego drives upwards; what the governor knows is where it says."""
    nothing = from_above(world, None)
    place = np.array([[20.0, 3.0, 0.3]], np.float32)   # ahead, left
    one = np.ones(1)
    scene = Scene(0.0, (0.0,), one.astype(np.float32), Obstacles(
        place, one.astype(np.uint8), one > 0, one.astype(np.float32), 0 * one.astype(np.float32),
        -one.astype(np.int16)))
    rows, columns = np.nonzero((from_above(world, scene) != nothing).any(-1))
    height, width = nothing.shape[:2]
    assert rows.mean() < height / 2 and columns.mean() < width / 2 - 10
    assert chosen_worlds([Record(seed, 'present', name, False, 0.0, None, 9.0, False, 0.0, 9.0)
                          for seed, name in ((3, CALM), (4, CALM), (5, CUT_IN))]) == {
        CALM: 3, CUT_IN: 5}


def test_the_table_counts_pairs_and_false_stops() -> None:
    one = Record(1, 'present', CROSSING, True, 4.0, 0.4, 0.0, True, 0.5, 30.0)
    records = [replace(one, kind=kind, collided=kind == 'present', impact_speed=4.0)
               for kind in KINDS]
    records += [replace(one, kind=kind, scenario=CALM, seed=2, collided=False,
                        stopped=kind != TRUTH) for kind in KINDS]
    text = tables(records)
    assert '**crossing** (1 worlds)' in text and '**calm** (1 worlds)' in text
    assert 'K futures: 1 avoided, 0 added' in text
    rows = [line for line in text.splitlines() if line.startswith('| true future')]
    assert rows[0].endswith('| 0.00 [0.00, 0.00] |') and '| - |' in rows[1]
    assert set(SCENARIOS) == {CALM, CROSSING, BRAKING, CUT_IN}
