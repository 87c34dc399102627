# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Our own low-poly meshes: vehicles, pedestrians, cyclists, boxes, houses and billboards.

A mesh is a float32 array (V, 10): position (x forward, y left, z up, m), normal, and
u, v, material, limb. Three rows are one triangle. `limb` swings legs and arms in the shader.
"""

from __future__ import annotations

import numpy as np

PAINT, GLASS, RUBBER, TAIL, HEAD, METAL, SKIN, CLOTH = range(8)
Point = tuple[float, float, float]


def _quad(corners: list[Point], material: int, limb: float = 0.0) -> np.ndarray:
    a, b, c, d = (np.asarray(corner, float) for corner in corners)
    normal = np.cross(b - a, d - a)
    if np.linalg.norm(normal) < 1e-9:
        normal = np.cross(c - a, d - a)
    normal = normal / np.linalg.norm(normal)
    width, height = np.linalg.norm(b - a), np.linalg.norm(d - a)
    uv = ((0, 0), (width, 0), (width, height), (0, height))
    rows = [np.concatenate([p, normal, uv[i], [material, limb]])
            for i, p in ((0, a), (1, b), (2, c), (0, a), (2, c), (3, d))]
    return np.array(rows, np.float32)


def frustum(bottom: tuple[float, float, float, float, float],
            top: tuple[float, float, float, float, float], sides: int, roof: int | None = None,
            limb: float = 0.0, front: int | None = None, back: int | None = None) -> np.ndarray:
    """Return a box that tapers: (x0, x1, y0, y1, z) at the bottom and at the top."""
    x0, x1, y0, y1, z0 = bottom
    u0, u1, v0, v1, z1 = top
    lower = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
    upper = [(u0, v0, z1), (u1, v0, z1), (u1, v1, z1), (u0, v1, z1)]
    materials = (sides, sides if front is None else front, sides,
                 sides if back is None else back)
    faces = [_quad([lower[i], lower[(i + 1) % 4], upper[(i + 1) % 4], upper[i]], m, limb)
             for i, m in enumerate(materials)]
    faces.append(_quad(upper, sides if roof is None else roof, limb))
    return np.concatenate(faces)


def _slab(x0: float, x1: float, y0: float, y1: float, z0: float, z1: float, material: int,
          limb: float = 0.0) -> np.ndarray:
    return frustum((x0, x1, y0, y1, z0), (x0, x1, y0, y1, z1), material, limb=limb)


def _wheel(x: float, y: float, radius: float, width: float, sides: int = 8) -> np.ndarray:
    outer = y + np.sign(y) * width / 2
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = [(x + radius * np.cos(a), radius + radius * np.sin(a)) for a in angle]
    faces = []
    for i in range(sides):
        (xa, za), (xb, zb) = ring[i], ring[(i + 1) % sides]
        inner = y - np.sign(y) * width / 2
        if y > 0:
            faces.append(_quad([(xb, inner, zb), (xa, inner, za), (xa, outer, za),
                                (xb, outer, zb)], RUBBER))
        else:
            faces.append(_quad([(xa, inner, za), (xb, inner, zb), (xb, outer, zb),
                                (xa, outer, za)], RUBBER))
    for scale, material, lift in ((1.0, RUBBER, 0.0), (0.55, METAL, 0.01)):
        hub = [(x + scale * radius * np.cos(a), outer + np.sign(y) * lift,
                radius + scale * radius * np.sin(a)) for a in angle]
        hub = hub[::-1] if y > 0 else hub
        faces += [_quad([hub[0], *hub[i:i + 3]], material) for i in range(1, sides - 2, 2)]
    return np.concatenate(faces)


def _lights(front: float, back: float, half: float, low: float, high: float,
            inset: float = 0.42) -> list[np.ndarray]:
    """Return head lights, tail lights and number plates just outside a body."""
    faces = []
    for side in (-1, 1):
        y0, y1 = sorted((side * half, side * (half - inset)))
        faces.append(_quad([(back, y1, low), (back, y0, low), (back, y0, high),
                            (back, y1, high)], TAIL))
        faces.append(_quad([(front, y0, low), (front, y1, low), (front, y1, high),
                            (front, y0, high)], HEAD))
    faces.append(_quad([(back, .26, low - .14), (back, -.26, low - .14), (back, -.26, low),
                        (back, .26, low)], METAL))
    return faces


def _car(length: float, width: float, belt: float, height: float, cabin: tuple[float, ...],
         clearance: float = 0.22, far: bool = False) -> np.ndarray:
    """Return a car; `cabin` is x of rear base, rear top, front top and front base.

    The `far` version leaves out what is smaller than a pixel beyond some 40 m.
    """
    half, w = length / 2, width / 2
    middle = clearance + 0.55 * (belt - clearance)
    rear, rear_top, front_top, front = cabin
    glass = belt - 0.02
    parts = [
        frustum((-half + .06, half - .06, -w + .06, w - .06, clearance),
                (-half, half, -w, w, clearance + .16), RUBBER),
        frustum((-half, half, -w, w, clearance + .16),
                (-half + .02, half - .02, -w, w, middle), PAINT),
        frustum((-half + .02, half - .02, -w, w, middle),
                (-half + .10, half - .28, -w + .07, w - .07, belt), PAINT),
        frustum((rear, front, -w + .08, w - .08, glass),
                (rear_top, front_top, -w + .24, w - .24, height - .05), GLASS),
        frustum((rear_top - .05, front_top + .04, -w + .22, w - .22, height - .07),
                (rear_top + .12, front_top - .10, -w + .3, w - .3, height), PAINT),
    ]
    if far:
        for x in (-0.30 * length, 0.31 * length):
            parts.append(_slab(x - .33, x + .33, -w + .02, w - .02, 0.0, .5, RUBBER))
        lights = _lights(half + .015, -half - .015, w - .04, middle - .12, middle + .05)
        return np.concatenate(parts + lights)
    for side in (-1, 1):  # rear pillars in body colour, and mirrors
        y = side * (w - .17)
        parts.append(frustum((rear + .0, rear + .34, y - .1, y + .1, glass),
                             (rear_top - .02, rear_top + .2, side * (w - .27) - .05,
                              side * (w - .27) + .05, height - .06), PAINT))
        y = side * (w + .07)
        parts.append(_slab(front - .45, front - .3, y - .1, y + .1, belt - .05, belt + .1, PAINT))
    for x in (-0.30 * length, 0.31 * length):
        for side in (-1, 1):
            parts.append(_wheel(x, side * (w - .09), .33, .22))
    parts += _lights(half + .015, -half - .015, w - .04, middle - .12, middle + .05)
    return np.concatenate(parts)


def _cars(far: bool) -> dict[str, np.ndarray]:
    bed = _slab(-2.55, -.65, -.80, .80, 1.07, 1.09, RUBBER)
    pickup = _car(5.5, 1.98, 1.08, 1.85, (-.45, -.3, .75, 1.5), .36, far)
    return {
        'sedan': _car(4.7, 1.84, .92, 1.45, (-1.75, -1.15, .30, 1.15), far=far),
        'suv': _car(4.7, 1.92, 1.05, 1.75, (-2.15, -1.9, .35, 1.15), .28, far),
        'hatch': _car(4.1, 1.78, .92, 1.5, (-1.85, -1.5, .35, 1.15), far=far),
        'pickup': np.concatenate([pickup, bed]),
        'van': _car(5.3, 2.0, 1.15, 2.15, (-2.55, -2.5, 1.45, 2.25), .26, far),
    }


def _bus() -> np.ndarray:
    w, half = 1.27, 5.8
    parts = [_slab(-half, half, -w, w, .35, 1.25, PAINT),
             frustum((-half, half, -w, w, 1.25), (-half, half, -w, w, 2.5), GLASS),
             _slab(-half, half, -w, w, 2.5, 3.05, PAINT)]
    for x in np.linspace(-half + .3, half - .9, 7):
        for side in (-1, 1):
            y = side * w
            parts.append(_slab(x - .09, x + .09, y - .015, y + .015, 1.25, 2.5, PAINT))
    for x in (-3.4, 3.6):
        for side in (-1, 1):
            parts.append(_wheel(x, side * (w - .12), .48, .3))
    return np.concatenate(parts + _lights(half + .02, -half - .02, w - .05, .75, 1.1))


def _truck() -> np.ndarray:
    w = 1.26
    parts = [_slab(-6.6, 3.5, -w, w, 1.05, 3.85, CLOTH),
             _slab(-6.6, 5.0, -.5, .5, .6, 1.06, RUBBER),
             _slab(-6.62, -6.5, -w, w, .45, .72, RUBBER),
             frustum((3.9, 6.3, -1.2, 1.2, .5), (3.9, 6.2, -1.2, 1.2, 1.9), PAINT),
             frustum((3.9, 6.2, -1.2, 1.2, 1.9), (3.9, 5.9, -1.15, 1.15, 2.8), GLASS, PAINT),
             frustum((3.9, 5.9, -1.15, 1.15, 2.8), (3.95, 4.7, -1.1, 1.1, 3.6), PAINT)]
    for x in (-5.6, -4.4, 3.2, 5.5):
        for side in (-1, 1):
            parts.append(_wheel(x, side * (w - .14), .48, .32))
    return np.concatenate(parts + _lights(6.32, -6.63, w - .1, .80, 1.0, .3))


def _pedestrian() -> np.ndarray:
    parts = [frustum((-.11, .11, -.17, .17, .82), (-.13, .13, -.23, .23, 1.42), PAINT),
             _slab(-.045, .045, -.05, .05, 1.40, 1.52, SKIN),
             frustum((-.09, .10, -.08, .08, 1.48), (-.10, .11, -.09, .09, 1.64), SKIN),
             frustum((-.11, .09, -.10, .10, 1.62), (-.07, .05, -.06, .06, 1.76), RUBBER)]
    for side in (-1, 1):
        parts.append(_slab(-.08, .08, side * .095 - .075, side * .095 + .075, .06, .86, CLOTH,
                           side))
        parts.append(_slab(-.09, .17, side * .095 - .055, side * .095 + .055, 0., .09, RUBBER,
                           side))
        parts.append(_slab(-.055, .055, side * .285 - .05, side * .285 + .05, .78, 1.40, PAINT,
                           -0.8 * side))
    return np.concatenate(parts)


def _cyclist() -> np.ndarray:
    rider = [frustum((-.30, -.05, -.15, .15, .95), (-.02, .25, -.20, .20, 1.48), PAINT),
             frustum((.10, .30, -.09, .09, 1.50), (.12, .28, -.08, .08, 1.74), SKIN),
             frustum((.08, .32, -.11, .11, 1.68), (.13, .27, -.06, .06, 1.80), RUBBER)]
    for side in (-1, 1):
        rider.append(_slab(-.14, .06, side * .12 - .07, side * .12 + .07, .30, .98, CLOTH,
                           .6 * side))
        rider.append(_slab(.18, .62, side * .22 - .05, side * .22 + .05, 1.18, 1.30, PAINT))
    frame = [_slab(-.5, .55, -.025, .025, .52, .60, METAL),
             _slab(.50, .58, -.25, .25, 1.02, 1.08, METAL),
             _slab(-.22, -.16, -.03, .03, .5, .95, METAL)]
    wheels = [_wheel(x, side * .012, .34, .03, 12) for x in (-.53, .55) for side in (-1, 1)]
    return np.concatenate(rider + frame + wheels)


def _house() -> np.ndarray:
    """Return a unit house (1 x 1 x 1): walls to 0.6 and a gable roof along x."""
    h, eave = .5, .6
    walls = frustum((-h, h, -h, h, 0), (-h, h, -h, h, eave), PAINT)
    roof = [_quad([(-.54, -.56, eave - .04), (.54, -.56, eave - .04), (.54, 0, 1), (-.54, 0, 1)],
                  CLOTH),
            _quad([(.54, .56, eave - .04), (-.54, .56, eave - .04), (-.54, 0, 1), (.54, 0, 1)],
                  CLOTH)]
    gables = []
    for x in (-h, h):
        corners: list[Point] = [(x, -h, eave), (x, h, eave), (x, 0, 1), (x, 0, 1)]
        gables.append(_quad(corners if x > 0 else [corners[1], corners[0], *corners[2:]], PAINT))
    return np.concatenate([walls, *roof, *gables])


def _cylinder(sides: int = 6) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    faces = [_quad([(np.cos(a) / 2, np.sin(a) / 2, 0), (np.cos(b) / 2, np.sin(b) / 2, 0),
                    (np.cos(b) / 2, np.sin(b) / 2, 1), (np.cos(a) / 2, np.sin(a) / 2, 1)], PAINT)
             for a, b in zip(angle[:-1], angle[1:], strict=True)]
    return np.concatenate(faces)


VEHICLES: dict[str, tuple[float, float, float]] = {  # length, width, height in metres
    'sedan': (4.7, 1.84, 1.45), 'suv': (4.7, 1.92, 1.75), 'hatch': (4.1, 1.78, 1.5),
    'pickup': (5.5, 1.98, 1.85), 'van': (5.3, 2.0, 2.15), 'bus': (11.6, 2.54, 3.05),
    'truck': (13.0, 2.52, 3.85),
}


def build_meshes() -> dict[str, np.ndarray]:
    """Return every instanced mesh by name."""
    box = _slab(-.5, .5, -.5, .5, 0., 1., PAINT)
    underside = _quad([(-.5, .5, 0), (.5, .5, 0), (.5, -.5, 0), (-.5, -.5, 0)], PAINT)
    billboard = np.zeros((6, 10), np.float32)
    billboard[:, 6:8] = ((-1, 0), (1, 0), (1, 1), (-1, 0), (1, 1), (-1, 1))
    return {
        **_cars(far=False), **{f'{name}_far': mesh for name, mesh in _cars(far=True).items()},
        'bus': _bus(), 'truck': _truck(),
        'pedestrian': _pedestrian(), 'cyclist': _cyclist(),
        'box': np.concatenate([box, underside]), 'building': box, 'house': _house(),
        'pole': _cylinder(), 'tree': billboard, 'shadow': box,
    }
