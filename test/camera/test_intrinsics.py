# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CameraInfo in: checked, with region of interest and binning applied."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import is_rectified, read_camera, resize_matrix
from deltaworld_ros.errors import UserError
from deltaworld_ros.node.messages import camera_info_message

K = [500., 0., 319.5, 0., 510., 179.5, 0., 0., 1.]
P = [450., 0., 320., -45., 0., 455., 180., 0., 0., 0., 1., 0.]


def message(**changes: Any) -> CameraInfo:
    fields: dict[str, Any] = {
        'width': 640, 'height': 360, 'distortion_model': 'plumb_bob',
        'd': [0.1, -0.2, 0.0, 0.0, 0.05], 'k': K, 'p': P,
        'r': [1., 0., 0., 0., 1., 0., 0., 0., 1.]}
    return CameraInfo(**{**fields, **changes})


def test_plain_camera() -> None:
    camera = read_camera(message())
    assert (camera.width, camera.height) == (640, 360)
    assert camera.intrinsics.ravel().tolist() == K
    assert camera.projection.ravel().tolist() == P


def test_a_driver_that_fills_only_k() -> None:
    camera = read_camera(message(p=[0.] * 12))
    assert (camera.projection == np.hstack([camera.intrinsics, np.zeros((3, 1))])).all()


def test_region_of_interest_and_binning() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=20, width=400, height=300)
    camera = read_camera(message(roi=roi, binning_x=2, binning_y=4))
    assert (camera.width, camera.height) == (200, 75)
    # The pixel centre of the binned image's (0, 0) is at (100.5, 21.5) of the sensor.
    assert camera.intrinsics[0, 2] == pytest.approx((319.5 - 100.5) / 2)
    assert camera.intrinsics[1, 2] == pytest.approx((179.5 - 21.5) / 4)
    assert camera.intrinsics[0, 0] == 250 and camera.intrinsics[1, 1] == 127.5


@pytest.mark.parametrize(('changes', 'named'), [
    ({'k': [math.nan, *K[1:]]}, 'K holds values that are not finite'),
    ({'k': [*K[:2], math.inf, *K[3:]]}, 'K holds'),
    ({'k': [0.] * 9, 'p': [0.] * 12}, 'focal lengths in K are 0 and 0'),
    ({'k': [-500., *K[1:]]}, 'focal lengths in K are -500 and 510'),
    ({'p': [math.nan] * 12}, 'P holds'),
    ({'d': [math.nan]}, 'D holds'),
    ({'r': [math.nan] * 9}, 'R holds'),
    ({'width': 0}, 'size 0x360 is empty'),
    ({'k': [5e-324, *K[1:]]}, 'a focal length in K is 4.94066e-324 for a width of 640'),
    ({'k': [1.7e308, *K[1:]]}, 'K holds 1.7e+308, which no camera has'),
    ({'k': [31., *K[1:]]}, 'a focal length in K is 31 for a width of 640'),
    ({'k': [*K[:4], 1., *K[5:]]}, 'a focal length in K is 1 for a height of 360'),
    ({'p': [*P[:3], 1.7e308, *P[4:]]}, 'P holds 1.7e+308'),
    ({'binning_x': 2**32 - 1}, 'leaves no image'),
    ({'k': [500., 0., 0., 0., 510., 0., 319.5, 179.5, 1.]},   # by columns
     'K is 500 0 0; 0 510 0; 319.5 179.5 1; a camera has fx skew cx; 0 fy cy; 0 0 1'),
    ({'k': [*K[:8], 0.]}, 'K is 500 0 319.5; 0 510 179.5; 0 0 0; a camera has'),
    ({'k': [*K[:2], 1e6, *K[3:]]}, 'the principal point in K, (1e+06, 179.5), is far outside'),
    *(({'roi': RegionOfInterest(x_offset=x, y_offset=y, width=400, height=300)},
       f'400x300 pixels at ({x}, {y}), is not inside of the image of 640x360')
      for x, y in ((241, 0), (0, 61), (2**32 - 1, 0))),
    ({'roi': RegionOfInterest(width=4, height=360)},
     'a focal length in K, with region of interest and binning, is 500 for a width of 4'),
])
def test_uncalibrated_cameras_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        read_camera(message(**changes))
    assert named in str(caught.value) and '\n' not in str(caught.value)


def test_map_camera_info_projects_to_the_same_place() -> None:
    camera = read_camera(message())
    fit = ImageFit(640, 360, 64, 32, 'crop')
    size = (320, 160)
    to_map = resize_matrix(size[0] / 64, size[1] / 32) @ fit.intrinsics(resize_matrix(1, 1))
    info = camera_info_message(Header(frame_id='eye'), camera, to_map, size)
    assert (info.width, info.height, info.header.frame_id) == (320, 160, 'eye')
    assert list(info.d) == [0.1, -0.2, 0.0, 0.0, 0.05] and info.distortion_model == 'plumb_bob'
    # A pixel of the camera's image, by its place in the crop, and by the ray through both.
    x, y, width, height = fit.region
    column, row = x + 0.25 * width - 0.5, y + 0.75 * height - 0.5
    for matrix, original in ((info.k, camera.intrinsics), (info.p, camera.projection[:, :3])):
        ray = np.linalg.solve(original, [column, row, 1])
        projected = np.array(matrix).reshape(3, -1)[:, :3] @ ray
        assert projected[:2] == pytest.approx([0.25 * 320 - 0.5, 0.75 * 160 - 0.5])
    # The baseline term of P scales with the focal length.
    assert info.p[3] / info.p[0] == pytest.approx(P[3] / P[0])


@pytest.mark.parametrize(('topic', 'rectified'), [
    ('/camera/image_rect', True), ('/camera/image_rect_color/compressed', True),
    ('/camera/infra1/image_rect_raw', True), ('/camera/image_raw', False),
    ('/camera_rect/image_raw', False), ('', False),
])
def test_topics_of_rectified_images(topic: str, rectified: bool) -> None:
    assert is_rectified(topic) is rectified


@pytest.mark.parametrize(('changes', 'topic', 'rectified', 'focal_length'), [
    ({}, '/camera/image_raw', 'auto', 500.),
    ({}, '/camera/image_rect', 'auto', 450.),
    ({}, '/camera/image_rect', 'false', 500.),
    ({}, '/camera/image_raw', 'true', 450.),
    ({'k': [0.] * 9}, '/camera/image_raw', 'auto', 450.),      # a driver that fills only P
    ({'p': [0.] * 12}, '/camera/image_rect', 'auto', 500.),    # and one that fills only K
])
def test_rectified_images_are_described_by_p(
        changes: dict[str, Any], topic: str, rectified: str, focal_length: float) -> None:
    camera = read_camera(message(**changes), topic, rectified)
    assert camera.pinhole[0, 0] == focal_length


@pytest.mark.parametrize(('changes', 'rectified', 'named'), [
    ({'k': [0.] * 9}, 'false', 'focal lengths in K are 0 and 0'),
    ({'p': [0.] * 12}, 'true', 'focal lengths in P are 0 and 0'),
])
def test_a_choice_that_camera_info_does_not_allow(
        changes: dict[str, Any], rectified: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        read_camera(message(**changes), '/camera/image', rectified)


def test_region_and_binning_act_on_p_as_on_k() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=20, width=400, height=300)
    camera = read_camera(message(roi=roi, binning_x=2, binning_y=2), 'image_rect')
    assert camera.pinhole[0, 0] == 225 and camera.pinhole[1, 1] == 227.5
    assert camera.pinhole[0, 2] == pytest.approx((320 - 100.5) / 2)
    assert camera.size_problem(200, 150) == ''
    assert camera.size_problem(400, 300) == \
        'camera_info is for images of 200x150, the image is 400x300'
