# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how far below the camera a bundle's depth puts the road: a flat road has one height.

Run as `python benchmarks/road_height.py VIDEO --focal FX FY --center CX CY`. The height of a
road point is its depth times its rows below the horizon, divided by the focal length. The
horizon is the row of the vanishing point of the lane lines, found in the video itself; with
`--level` it is the camera's centre, as for a camera without pitch. Needs a CPU only.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import resize_matrix
from deltaworld_ros.engine import load_engine
from deltaworld_ros.forecast.forecaster import Forecaster

BINS = (5.0, 8.0, 11.0, 15.0, 20.0, 25.0, 30.0)   # m
ROAD = ('road', 'lane marking', 'lane_marking', 'lane')
# Where lane lines are looked for, as shares of the height, and how steep they are.
LINES_FROM, LINES_TO, MIN_SLOPE, MAX_SLOPE = 0.62, 0.92, 0.35, 4.0
AGREEMENT = 0.02   # rad between a line and the direction of the vanishing point
TRIES = 300


def frames_of(video: Path, start: float, end: float, every: float) -> Iterator[np.ndarray]:
    """Yield pictures (h, w, 3) RGB of a video, one each `every` seconds."""
    capture = cv2.VideoCapture(str(video))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    step, number = max(1, round(every * rate)), 0
    while number / rate < end:
        complete, picture = capture.read()
        if not complete:
            break
        if number / rate >= start and number % step == 0:
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        number += 1
    capture.release()


def vanishing_row(picture: np.ndarray) -> float | None:
    """Return the row where most of the left and of the right lane lines meet, None without."""
    height, width = picture.shape[:2]
    gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (5, 5), 1.2)
    edges = cv2.Canny(gray, 40, 120)
    edges[:int(LINES_FROM * height)] = edges[int(LINES_TO * height):] = 0
    scale = width / 1280
    found = cv2.HoughLinesP(edges, 1, np.pi / 360, int(35 * scale),
                            minLineLength=45 * scale, maxLineGap=25 * scale)
    if found is None:
        return None
    lines = np.asarray(found, np.float64).reshape(-1, 4)
    run, rise = lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]
    slopes = rise / np.where(run == 0, 1e-6, run)
    steep = (np.abs(slopes) > MIN_SLOPE) & (np.abs(slopes) < MAX_SLOPE)
    lines, slopes, lengths = lines[steep], slopes[steep], np.hypot(run, rise)[steep]
    left, right = np.flatnonzero(slopes < 0), np.flatnonzero(slopes > 0)
    if not len(left) or not len(right):
        return None
    middle = (lines[:, :2] + lines[:, 2:]) / 2
    generator = np.random.default_rng(0)
    best, row = 0.0, None
    for _ in range(TRIES):
        one, two = generator.choice(left), generator.choice(right)
        x = (middle[two, 1] - slopes[two] * middle[two, 0]
             - middle[one, 1] + slopes[one] * middle[one, 0]) / (slopes[one] - slopes[two])
        y = middle[one, 1] + slopes[one] * (x - middle[one, 0])
        away = np.array([x, y]) - middle
        angles = np.abs(np.arctan2(away[:, 1], away[:, 0]) - np.arctan(slopes)) % math.pi
        agrees = lengths * (np.minimum(angles, math.pi - angles) < AGREEMENT)
        score = float(np.sqrt(agrees[left].sum() * agrees[right].sum()))
        if 0.4 * height < y < 0.75 * height and score > best:
            best, row = score, float(y)
    return row


def main() -> None:
    """Print the height of the road below the camera by distance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('video', type=Path)
    parser.add_argument('--focal', type=float, nargs=2, required=True, metavar=('FX', 'FY'))
    parser.add_argument('--center', type=float, nargs=2, required=True, metavar=('CX', 'CY'))
    parser.add_argument('--start', type=float, default=0.0, help='s')
    parser.add_argument('--end', type=float, default=math.inf, help='s')
    parser.add_argument('--every', type=float, default=0.4, help='s between pictures')
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--level', action='store_true', help='take the centre for the horizon')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = load_bundle(arguments.bundle)
    m = bundle.manifest
    road = [number for number, one in enumerate(m.classes) if one.name in ROAD]
    pictures = list(frames_of(arguments.video, arguments.start, arguments.end, arguments.every))
    (fx, fy), (cx, cy) = arguments.focal, arguments.center
    rows = [row for row in map(vanishing_row, pictures) if row is not None]
    horizon = cy if arguments.level or not rows else float(np.median(rows))
    height, width = pictures[0].shape[:2]
    fit = ImageFit(width, height, m.image_width, m.image_height)
    camera = np.array([[fx, 0, cx], [0, fy, horizon], [0, 0, 1.0]])
    seen = fit.intrinsics(camera)
    scale = depth_scale(m, seen)
    to_map = resize_matrix(m.map_width / m.image_width, m.map_height / m.image_height) @ seen
    below = (np.arange(m.map_height) - to_map[1, 2]) / to_map[1, 1]
    forecaster = Forecaster(load_engine(bundle, threads=1, single_leads=True), m)
    depths, heights = [], []
    for number, picture in enumerate(pictures):
        forecaster.observe(fit.apply(picture), number * m.stride)
        present = forecaster.present()
        on_road = np.isin(present.fused_labels[0], road)
        metres = present.fused_depth[0] * scale
        depths.append(metres[on_road])
        heights.append((metres * below[:, None])[on_road])
    depth, heights_of = np.concatenate(depths), np.concatenate(heights)
    print(f'{arguments.video.name}: {len(pictures)} pictures, horizon at row {horizon:.1f} of '
          f'{height} (centre {cy:.1f})')
    print('| distance, m | height of the road below the camera, m | share of road points |')
    print('|---|---|---|')
    for near, far in zip(BINS[:-1], BINS[1:], strict=True):
        inside = (depth >= near) & (depth < far)
        if inside.sum() >= 50:
            print(f'| {near:g}-{far:g} | {np.median(heights_of[inside]):.2f} | '
                  f'{inside.mean():.1%} |')


if __name__ == '__main__':
    main()
