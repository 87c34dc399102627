# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The street world's agents: no collisions, smooth motion, branches and hidden intents."""

from __future__ import annotations

import numpy as np
import pytest

from deltaworld_training.street.meshes import VEHICLES
from deltaworld_training.street.pedestrians import CROSS
from deltaworld_training.street.world import TEST_SEEDS, TRAIN_SEEDS, StreetWorld

SOLID = {**{name: size[:2] for name, size in VEHICLES.items()}, 'pole': (1.0, 1.0),
         'box': (1.0, 1.0), 'building': (1.0, 1.0), 'house': (1.0, 1.0)}


def corners(x: float, y: float, yaw: float, length: float, width: float) -> np.ndarray:
    """Return the footprint (4, 2) of an oriented box."""
    local = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * (length / 2, width / 2)
    turn = np.array([(np.cos(yaw), -np.sin(yaw)), (np.sin(yaw), np.cos(yaw))])
    return local @ turn.T + (x, y)


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether two convex footprints intersect (separating axes)."""
    for box in (a, b):
        for edge in (box[0] - box[1], box[1] - box[2]):
            one, two = a @ edge, b @ edge
            if one.max() < two.min() or two.max() < one.min():
                return False
    return True


def footprints(world: StreetWorld) -> list[np.ndarray]:
    vehicles = world.vehicles
    poses = vehicles.poses(world.routes)
    return [corners(*pose[[0, 1, 3]], length, width)
            for pose, length, width in zip(poses, vehicles.length, vehicles.width, strict=True)]


def static_footprints(world: StreetWorld) -> list[np.ndarray]:
    """Return the footprints of scenery at the height of a car."""
    found = []
    road = world.layout.main.points
    for name, table in world.scenery.instances.items():
        for row in table if name in SOLID else ():
            nearest = ((road[:, :2] - row[:2]) ** 2).sum(1).argmin()
            if row[2] < road[nearest, 2] + 2.5:
                length, width = np.array(SOLID[name]) * row[4:6]
                found.append(corners(row[0], row[1], row[3], length, width))
    return found


def state_of(world: StreetWorld) -> np.ndarray:
    return np.concatenate([world.vehicles.poses(world.routes).ravel(),
                           world.vehicles.v, world.walkers.s, world.walkers.t,
                           world.ego_camera().ravel()])


def run(world: StreetWorld, seconds: float) -> np.ndarray:
    """Return the states (steps, n) of the next seconds."""
    states = []
    for _ in range(round(seconds / 0.1)):
        world.step()
        states.append(state_of(world))
    return np.array(states)


def test_the_overlap_check_finds_overlaps():
    square = corners(0, 0, 0.0, 2, 2)
    assert overlap(square, corners(1.5, 0, 0.8, 2, 2))
    assert not overlap(square, corners(2.6, 0, 0.0, 2, 2))
    assert not overlap(square, corners(2.2, 2.2, np.pi / 4, 2, 2))


def test_splits_share_no_seed():
    assert TEST_SEEDS.stop <= 100_000 and TRAIN_SEEDS.start >= 1_000_000


def test_nobody_collides_in_30_worlds_of_6_seconds():
    for seed in range(30):
        world = StreetWorld(seed)
        still = static_footprints(world)
        for _ in range(30):
            world.step(0.2)
            boxes = footprints(world)
            middle = boxes[0].mean(0)
            near = [box for box in boxes if np.hypot(*(box.mean(0) - middle)) < 60]
            for i, one in enumerate(near):
                for other in near[:i]:
                    assert not overlap(one, other), f'seed {seed}, {world.time:.1f} s'
            for box in still:
                if np.hypot(*(box.mean(0) - middle)) < 25:
                    assert not overlap(boxes[0], box), f'seed {seed}, {world.time:.1f} s: scenery'
            people = world.layout.main.at(world.walkers.s, world.walkers.t)[:, :2]
            for x, y in people:
                assert not overlap(boxes[0], corners(x, y, 0.0, 0.4, 0.4)), f'seed {seed}'


def test_the_ego_moves_smoothly():
    speeds = []
    for seed in range(100, 115):
        world = StreetWorld(seed)
        poses = []
        for _ in range(50):
            world.step()
            poses.append(world.vehicles.poses(world.routes)[0])
            assert -3.3 < world.vehicles.a[0] < 2.0
            speeds.append(world.vehicles.v[0])
        track = np.array(poses)
        velocity = np.diff(track[:, :2], axis=0) / 0.1
        assert np.hypot(*velocity.T).max() < 40
        # Positions, not only the state variables, accelerate plausibly (curves included).
        assert np.hypot(*(np.diff(velocity, axis=0) / 0.1).T).max() < 5.5
        assert np.abs(np.diff(track[:, 3]) / 0.1).max() < 0.8
    assert np.percentile(speeds, 90) > 15 and np.percentile(speeds, 10) < 9


def test_poses_between_steps_are_continuous():
    world = StreetWorld(7)
    world.step(1.0)
    before = world.vehicles.poses(world.routes, 0.1 - 1e-9)
    world.step()
    after = world.vehicles.poses(world.routes)
    # The acceleration changes at the step; what was extrapolated with the old one stays close.
    assert np.hypot(*(before - after)[:, :2].T).max() < 0.02


def test_step_takes_multiples_of_the_fixed_step():
    world = StreetWorld(3)
    with pytest.raises(ValueError, match='multiple of 0.1'):
        world.step(0.05)


def test_a_restored_snapshot_continues_identically():
    for seed in (3, 5, 12):
        world = StreetWorld(seed)
        world.step(0.7)
        snapshot = world.snapshot()
        first = run(world, 3.0)
        world.restore(snapshot)
        np.testing.assert_array_equal(run(world, 3.0), first)


def test_branches_share_the_past_and_part_after_it():
    for seed in (3, 5, 12):
        world = StreetWorld(seed)
        world.step(1.0)
        snapshot, present = world.snapshot(), state_of(world)
        ends = []
        for branch in range(4):
            world.restore(snapshot)
            world.branch(branch)
            np.testing.assert_array_equal(state_of(world), present)
            ends.append(run(world, 3.0)[-1])
        world.restore(snapshot)
        world.branch(0)
        np.testing.assert_array_equal(run(world, 3.0)[-1], ends[0])
        assert len({end.tobytes() for end in ends}) == 4


def test_branches_enumerate_the_intents_with_their_probabilities():
    world = StreetWorld(3)
    branches = world.branches(most=3)
    assert sum(odds for _, odds in branches) == pytest.approx(1.0)
    assert len({tuple(sorted(intents.items())) for intents, _ in branches}) == len(branches)
    assert [odds for _, odds in branches] == sorted((o for _, o in branches), reverse=True)
    assert all(len(intents) == 3 for intents, _ in branches)


def open_choice(kind: str, option: str, first: int) -> tuple[StreetWorld, int]:
    """Return a world in which some agent can choose `option`, and that agent."""
    for seed in range(first, first + 40):
        world = StreetWorld(seed)
        for choice in world.choices(40.0):
            if choice.kind == kind and option in choice.options:
                return world, choice.agent
    raise AssertionError(f'no world offers {option}')


@pytest.mark.parametrize(('turn', 'sign'), [('left', 1), ('right', -1)])
def test_a_chosen_turn_is_driven(turn, sign):
    """Whoever is past the junction within 18 s (red lights and oncoming traffic allow) turned."""
    turned, seed = 0, 40
    for _ in range(5):
        world, agent = open_choice('route', turn, seed)
        seed = world.seed + 1
        world.branch(0, {(agent, 'route'): turn})
        path = world.vehicles.path[agent]
        assert world.routes.paths[path].turn == turn
        heading = world.vehicles.poses(world.routes)[agent, 3]
        for _ in range(180):
            world.step()
            if world.vehicles.s[agent] > world.routes.entry[path] + 16:
                change = world.vehicles.poses(world.routes)[agent, 3] - heading
                change = (change + np.pi) % (2 * np.pi) - np.pi
                assert change == pytest.approx(sign * np.pi / 2, abs=0.3)
                turned += 1
                break
    assert turned


def test_a_chosen_stop_stops_and_keep_does_not():
    world = next(w for w in map(StreetWorld, range(60)) if w.layout.kind == 'rural'
                 and w.vehicles.v[0] > 9)
    snapshot = world.snapshot()
    slowest = {}
    for option in ('stop', 'keep'):
        world.restore(snapshot)
        world.branch(1, {(0, 'event'): option})
        speeds = []
        for _ in range(20):
            world.step()
            speeds.append(world.vehicles.v[0])
        slowest[option] = min(speeds)
    assert slowest['stop'] < slowest['keep'] - 2.0


def test_a_pedestrian_who_waits_stays_and_one_who_walks_leaves():
    world, agent = open_choice('walk', 'wait', 3)
    snapshot = world.snapshot()
    moved = {}
    for option in ('wait', 'walk'):
        world.restore(snapshot)
        world.branch(2, {(agent, 'walk'): option})
        start = world.walkers.s[agent]
        world.step(1.4)
        moved[option] = abs(world.walkers.s[agent] - start)
    assert moved['wait'] < 1.2 < moved['walk'] + 0.6


def test_pedestrians_cross_the_road():
    crossing, arrived = 0, 0
    for seed in range(12):
        world = StreetWorld(seed)
        before = np.sign(world.walkers.t)
        started = np.zeros(len(world.walkers), bool)
        for _ in range(90):
            world.step()
            started |= world.walkers.mode == CROSS
        crossing += int(started.sum())
        arrived += int((np.sign(world.walkers.t) != before).sum())
    assert crossing >= 4 and arrived >= 1


def test_unknown_intents_are_refused():
    world = StreetWorld(3)
    with pytest.raises(ValueError, match='unknown intent'):
        world.branch(0, {(0, 'fly'): 'up'})
