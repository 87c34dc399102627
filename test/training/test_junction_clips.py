# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips begin where the ego's next turn is open, and show every turn."""

import numpy as np
import pytest

from deltaworld_training.data.junction_clips import EGO, FARTHEST, LEAST_SPEED, JunctionClips
from deltaworld_training.street.vehicles import ROUTES
from deltaworld_training.street.world import TRAIN_SEEDS

CLIPS = JunctionClips(TRAIN_SEEDS.start, 40, 7, 0.2, (320, 192))


def test_the_ego_is_before_a_junction_and_moves() -> None:
    """Near the line, in motion, with its route set; all turns are taken."""
    turns = set()
    for index in range(16):
        seed = CLIPS.first_seed + index
        world = CLIPS.world(seed, np.random.default_rng(seed))
        junction, distance = world.driving.next_junction(world.vehicles, EGO)
        assert junction >= 0 and distance < FARTHEST
        assert world.vehicles.v[EGO] > LEAST_SPEED
        turns.add(ROUTES[int(world.vehicles.route[EGO])])
    assert turns == {'straight', 'left', 'right'}


def test_a_clip_is_the_same_every_time() -> None:
    """An index gives one clip, whose times begin at 0."""
    first, again = CLIPS.clip(3), CLIPS.clip(3)
    np.testing.assert_array_equal(first.frames, again.frames)
    assert first.frames.shape == (7, 192, 320, 3) and first.times[0] == 0.0
    assert first.labels is not None and first.labels.shape == (7, 192, 320)


def test_motion_is_that_of_the_rendered_clip() -> None:
    """It can be had without rendering, and is that of the world's ego on its way."""
    clip = CLIPS.clip(3)
    assert clip.motion is not None and clip.motion.shape == (7, 2)
    np.testing.assert_array_equal(CLIPS.motion(3), clip.motion)
    longer = JunctionClips(TRAIN_SEEDS.start, 40, 10, 0.2, (320, 192))
    generator, world, times = longer._begin(4)   # turns right
    begin = max(0.0, world.time)
    first = world.vehicles.poses(world.routes, world.advance_to(begin))[EGO]
    last = world.vehicles.poses(world.routes, world.advance_to(begin + times[-1]))[EGO]
    turned, driven = (np.diff(times) @ longer.motion(4)[1:])[[1, 0]]
    assert turned == pytest.approx(last[3] - first[3], abs=1e-3) and turned < -0.25
    assert driven == pytest.approx(np.hypot(*(last - first)[:2]), rel=0.02)
