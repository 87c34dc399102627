# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Static meshes that follow a road: asphalt, pavements, walls; and the far surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deltaworld_training.street.layout import CORNER_RADIUS, Junction, Layout, Road

KERB = 0.14  # kerb height, m


@dataclass(frozen=True)
class Surface:
    """An indexed mesh: vertices (V, 10) of position, normal and four shader values.

    `row_s` (R,) and `row_start` (R + 1,) let the renderer draw only the rows near the camera;
    `road` names the road whose lane markings the asphalt shader draws.
    """

    program: str
    vertices: np.ndarray
    indices: np.ndarray
    row_s: np.ndarray
    row_start: np.ndarray
    road: int  # 0: main road, i + 1: side street of junction i


def ribbon(program: str, points: np.ndarray, normals: np.ndarray, values: np.ndarray,
           strips: Sequence[tuple[int, int]], row_s: np.ndarray, keep: np.ndarray,
           road: int) -> Surface:
    """Join rows of points (R, C, 3) by quads between the column pairs `strips` where kept."""
    rows, columns = points.shape[:2]
    first = np.arange(rows - 1)[:, None] * columns
    quads = []
    for left, right in strips:
        a, b = first + left, first + right
        quads.append(np.concatenate([a, b, b + columns, a, b + columns, a + columns], 1))
    table = np.stack(quads, 1).reshape(rows - 1, -1)
    chosen = table[keep]
    start = np.concatenate([[0], np.cumsum(keep * table.shape[1])])
    vertices = np.concatenate([points, normals, values], -1).reshape(-1, 10)
    return Surface(program, vertices.astype('f4'), chosen.reshape(-1).astype('i4'),
                   row_s, start, road)


def _normals(shape: tuple[int, ...], normal: Sequence[float]) -> np.ndarray:
    return np.broadcast_to(np.asarray(normal, float), (*shape[:2], 3))


def sideways(road: Road, s: np.ndarray, sign: float, columns: int) -> np.ndarray:
    """Return unit vectors (R, columns, 3) to the left of the road, or right if sign is -1."""
    heading = road.heading_at(s)
    normal = np.stack([-np.sin(heading) * sign, np.cos(heading) * sign, 0 * s], -1)
    return np.repeat(normal[:, None], columns, 1)


def asphalt(road: Road, s: np.ndarray, junction_s: Sequence[float], index: int,
            lift: float = 0.0, keep: np.ndarray | None = None) -> Surface:
    """Return the paved surface of a road."""
    section = road.section
    t = np.linspace(-section.right_edge, section.left_edge, 3)
    points = road.at(s[:, None], t[None])
    points[..., 2] += lift
    signed = s[:, None] - np.asarray(junction_s or [1e4])[None]
    nearest = np.abs(signed).argmin(1)
    signed = signed[np.arange(len(s)), nearest]
    values = np.stack(np.broadcast_arrays(s[:, None], t[None], np.abs(signed)[:, None],
                                          np.sign(signed)[:, None]), -1)
    keep = np.ones(len(s) - 1, bool) if keep is None else keep
    return ribbon('road', points, _normals(points.shape, (0, 0, 1)), values,
                  ((0, 1), (1, 2)), s, keep, index)


def pavements(road: Road, s: np.ndarray, keep: np.ndarray, index: int) -> Surface:
    """Return kerbs and sidewalks on both sides."""
    section = road.section
    width = section.sidewalk
    t = np.array([section.left_edge] * 3 + [section.left_edge + width]
                 + [-section.right_edge] * 3 + [-section.right_edge - width])
    z = np.array([-0.02, KERB, KERB, KERB] * 2)
    points = road.at(s[:, None], t[None])
    points[..., 2] += z
    normals = np.zeros_like(points)
    normals[..., 2] = 1.0
    normals[:, 0:2] = sideways(road, s, -1.0, 2)
    normals[:, 4:6] = sideways(road, s, 1.0, 2)
    values = np.stack(np.broadcast_arrays(s[:, None], np.abs(t)[None], 0.0, 0.0), -1)
    return ribbon('pavement', points, normals, values, ((0, 1), (2, 3), (4, 5), (6, 7)), s, keep,
                  index)


def corners(layout: Layout, junction: Junction) -> Surface:
    """Return the four rounded pavement corners of a junction."""
    main, side = layout.main.section, junction.street.section
    r, count = CORNER_RADIUS, 7
    angle = np.linspace(0.0, np.pi / 2, count)
    positions: list[np.ndarray] = []
    normals: list[np.ndarray] = []
    indices: list[np.ndarray] = []
    for along in (-1, 1):
        for left in (-1, 1):
            edge_t = main.left_edge if left > 0 else main.right_edge
            edge_s = side.right_edge
            ds = np.concatenate([edge_s + r * (1 - np.sin(angle)),
                                 [edge_s + main.sidewalk, edge_s + main.sidewalk, edge_s + r]])
            dt = np.concatenate([edge_t + r * (1 - np.cos(angle)),
                                 [edge_t + r, edge_t + main.sidewalk, edge_t + main.sidewalk]])
            flat = layout.main.at(junction.s + along * ds, left * dt)
            flat[:, 2] += KERB
            middle = layout.main.at(junction.s + along * (edge_s + main.sidewalk),
                                    left * (edge_t + main.sidewalk))
            middle[2] += KERB
            base = sum(map(len, positions))
            fan = np.concatenate([middle[None], flat])
            low = flat[:count] - np.array([0, 0, KERB + 0.02])
            wall = np.concatenate([flat[:count], low])
            away = wall - middle
            away[:, 2] = 0.0
            away /= np.linalg.norm(away, axis=1, keepdims=True)
            positions += [fan, wall]
            normals += [np.tile((0.0, 0.0, 1.0), (len(fan), 1)), away]
            rim = np.arange(len(flat) - 1)
            indices.append(np.stack([0 * rim, rim + 1, rim + 2], 1).reshape(-1) + base)
            a = np.arange(count - 1) + base + len(fan)
            indices.append(np.stack([a, a + 1, a + count, a + 1, a + count + 1, a + count],
                                    1).reshape(-1))
    points, normal = np.concatenate(positions), np.concatenate(normals)
    values = np.zeros((len(points), 4))
    values[:, :2] = points[:, :2]
    vertices = np.concatenate([points, normal, values], 1).astype('f4')
    index = np.concatenate(indices).astype('i4')
    return Surface('pavement', vertices, index, np.array([junction.s - 20, junction.s + 20]),
                   np.array([0, len(index)]), 0)


def wall(road: Road, s: np.ndarray, t: float, height: float, pattern: int,
         base: float | np.ndarray = -0.1, keep: np.ndarray | None = None) -> Surface:
    """Return a wall along a road; `pattern` as in the wall shader."""
    points = road.at(np.repeat(s[:, None], 2, 1), t)
    points[:, 0, 2] += base
    points[:, 1, 2] += base + height
    values = np.zeros((len(s), 2, 4))
    values[..., 0] = s[:, None] + 37.0 * t
    values[:, 1, 1] = height
    values[..., 2], values[..., 3] = pattern, height
    keep = np.ones(len(s) - 1, bool) if keep is None else keep
    return ribbon('wall', points, sideways(road, s, -np.sign(t) or 1.0, 2), values, ((0, 1),), s,
                  keep, 0)


def horizon_ring(radius: float = 330.0, height: float = 30.0, base: float = -10.0) -> Surface:
    """Return distant woods around the origin; the renderer centres them on the camera."""
    angle = np.linspace(0, 2 * np.pi, 33)
    circle = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], -1)
    points = np.stack([circle, circle], 1)
    points[:, 0, 2], points[:, 1, 2] = base, base + height
    normals = -points / radius
    normals[..., 2] = 0.0
    values = np.zeros((33, 2, 4))
    values[..., 0] = (angle * radius / 3)[:, None]
    values[:, 1, 1], values[..., 2], values[..., 3] = height, 2.0, height
    return ribbon('wall', points, normals, values, ((0, 1),), angle, np.ones(32, bool), 0)


def land_plane(level: float, size: float = 1500.0) -> Surface:
    """Return a large flat piece of land below everything else."""
    grid = np.linspace(-size, size, 3)
    points = np.zeros((3, 3, 3))
    points[..., 0], points[..., 1] = grid[:, None], grid[None]
    points[..., 2] = level
    values = np.full((3, 3, 4), 50.0)
    return ribbon('terrain', points, _normals(points.shape, (0, 0, 1)), values, ((0, 1), (1, 2)),
                  np.arange(3.0), np.ones(2, bool), 0)
