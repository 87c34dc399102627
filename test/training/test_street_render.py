# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of the street world: depth, labels and poses agree with the world's geometry."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from deltaworld_training.street.clip import render_clip, render_times
from deltaworld_training.street.instances import PEDESTRIAN, VEHICLE
from deltaworld_training.street.meshes import VEHICLES
from deltaworld_training.street.renderer import Frame, Renderer
from deltaworld_training.street.vehicles import SIZES
from deltaworld_training.street.world import StreetWorld

WIDTH, HEIGHT = 320, 192
ROAD, MARKING, SKY = 0, 2, 6
CITY, HIGHWAY = 'city', 'highway'


@pytest.fixture(scope='module')
def renderer():
    renderer = Renderer(WIDTH, HEIGHT)
    yield renderer
    renderer.release()


def world_of(kind: str, first: int = 0) -> StreetWorld:
    """Return the first world of a kind."""
    return next(world for world in map(StreetWorld, range(first, first + 60))
                if world.layout.kind == kind)


def unproject(frame: Frame) -> np.ndarray:
    """Return the world position (h, w, 3) of each pixel from depth, intrinsics and pose."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(frame.intrinsics).T
    points = rays * np.where(np.isinf(frame.depth), 1e4, frame.depth)[..., None]
    return points @ frame.camera_to_world[:3, :3].T + frame.camera_to_world[:3, 3]


def digest(frames: list[Frame]) -> str:
    parts = [frame.rgb.tobytes() + frame.depth.tobytes() + frame.labels.tobytes()
             for frame in frames]
    return hashlib.sha256(b''.join(parts)).hexdigest()


def test_frame_shapes_and_types(renderer):
    frame = render_clip(4, [0.0], WIDTH, HEIGHT, renderer)[0]
    assert frame.rgb.shape == (HEIGHT, WIDTH, 3) and frame.rgb.dtype == np.uint8
    assert frame.depth.shape == (HEIGHT, WIDTH) and frame.depth.dtype == np.float32
    assert frame.labels.shape == (HEIGHT, WIDTH) and frame.labels.dtype == np.uint8
    rotation = frame.camera_to_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_wrong_renderer_size_is_refused(renderer):
    with pytest.raises(ValueError, match='320x192 images, not 64x32'):
        render_clip(4, [0.0], 64, 32, renderer)


def test_times_must_increase(renderer):
    with pytest.raises(ValueError, match='before the world time'):
        render_clip(4, [0.5, 0.2], WIDTH, HEIGHT, renderer)


def test_same_seed_gives_the_same_frames_in_another_process(renderer):
    times = [0.0, 0.23, 0.61]
    here = digest(render_clip(11, times, WIDTH, HEIGHT, renderer))
    code = (
        'from test_street_render import *\n'
        f'print(digest(render_clip(11, {times}, WIDTH, HEIGHT, Renderer(WIDTH, HEIGHT))))')
    there = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True,
        env={'PYTHONPATH': ':'.join(path for path in [*sys.path, 'test'] if path)},
    ).stdout.split()[-1]
    assert there == here
    assert digest(render_clip(12, times, WIDTH, HEIGHT, renderer)) != here


def test_ground_depth_follows_from_the_camera_height(renderer):
    """On a flat street, a road pixel's depth is the camera height over its ray's slope."""
    world = world_of(CITY)
    frame = render_times(world, [0.4], renderer)[0]
    down = np.linalg.inv(frame.intrinsics)
    v, u = np.nonzero((frame.labels == ROAD) & (frame.depth < 40))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ down.T @ frame.camera_to_world[:3, :3].T
    height = frame.camera_to_world[2, 3]
    assert 1.0 < height < 2.0
    expected = height / -rays[:, 2]
    assert len(u) > 5000
    np.testing.assert_allclose(frame.depth[v, u], expected, rtol=0.02)


def test_road_pixels_lie_on_the_road(renderer):
    """With hills and curves, road pixels unproject to the surface between the road's edges."""
    world = world_of(HIGHWAY)
    frame = render_times(world, [0.0], renderer)[0]
    points = unproject(frame)[np.isin(frame.labels, (ROAD, MARKING)) & (frame.depth < 60)]
    main = world.layout.main
    nearest = np.array([((main.points[:, :2] - point[:2]) ** 2).sum(1).argmin()
                        for point in points[::50]])
    offset = points[::50] - main.points[nearest]
    heading = main.heading[nearest]
    lateral = -np.sin(heading) * offset[:, 0] + np.cos(heading) * offset[:, 1]
    section = main.section
    assert (lateral < section.left_edge + 0.3).all()
    assert (lateral > -section.right_edge - 0.3).all()
    assert np.abs(offset[:, 2]).max() < 0.35  # a metre along a slope


@pytest.mark.parametrize('label', [VEHICLE, PEDESTRIAN])
def test_agents_are_where_the_labels_say(renderer, label):
    """Pixels of agents unproject into the footprint of an agent (or of a parked car)."""
    checked = 0
    for seed in range(3, 9):
        world = StreetWorld(seed)
        frame = render_times(world, [0.8], renderer)[0]
        boxes = []
        for name, table in [*world.moving_instances().items(), *world.scenery.instances.items()]:
            if name == 'pedestrian':
                boxes += [(row, 0.9, 0.9) for row in table]
            elif name in VEHICLES or name == 'cyclist':
                length, width, _ = (*VEHICLES.values(), tuple(SIZES[-1]))[
                    [*VEHICLES, 'cyclist'].index(name)]
                boxes += [(row, length, width) for row in table]
        boxes = [box for box in boxes if box[0][10] == label]
        points = unproject(frame)[(frame.labels == label) & (frame.depth < 50)]
        inside = np.zeros(len(points), bool)
        for row, length, width in boxes:
            away = points - row[:3]
            along = np.cos(row[3]) * away[:, 0] + np.sin(row[3]) * away[:, 1]
            aside = -np.sin(row[3]) * away[:, 0] + np.cos(row[3]) * away[:, 1]
            inside |= (np.abs(along) < length / 2 + 0.3) & (np.abs(aside) < width / 2 + 0.3)
        assert inside.all()
        checked += len(points)
    assert checked > 300


def test_sky_alone_is_infinitely_far_and_every_class_occurs(renderer):
    seen = set()
    for seed in range(12):
        for frame in render_clip(seed, [0.0, 1.5], WIDTH, HEIGHT, renderer):
            assert ((frame.labels == SKY) == np.isinf(frame.depth)).all()
            assert frame.depth.min() > 0.5  # nothing touches the camera
            assert not np.isnan(frame.depth).any()
            seen |= set(np.unique(frame.labels).tolist())
    assert seen == set(range(10))


def test_pictures_have_texture_and_move(renderer):
    """Neither flat colours nor a still camera: what a backbone needs to see."""
    for seed in range(5):
        first, second = render_clip(seed, [0.0, 0.4], WIDTH, HEIGHT, renderer)
        road = first.rgb[first.labels == ROAD].astype(float)
        assert road.std(0).min() > 1.5
        assert np.abs(first.rgb.astype(int) - second.rgb).mean() > 1.0


def test_rendering_does_not_change_the_world(renderer):
    world, other = StreetWorld(21), StreetWorld(21)
    render_times(world, [0.1, 0.17, 0.52, 1.0], renderer)
    render_times(other, [1.0], renderer)
    np.testing.assert_array_equal(world.vehicles.s, other.vehicles.s)
    frames = [renderer.render(item) for item in (world, other)]
    np.testing.assert_array_equal(frames[0].rgb, frames[1].rgb)
