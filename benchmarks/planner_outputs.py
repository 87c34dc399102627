# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what each output for planners costs: the time of the node's thread to make its message.

    python benchmarks/planner_outputs.py --bundle street-lite0 --frames 40

It forecasts from the sample recording, with made-up odometry. Thread time is measured, so that
other processes on the machine do not count. With a bundle that takes plans it also prints what
one more plan costs, beside the forecast of the frame itself (both on all cores, by the clock).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.motion import known_motion
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import Camera
from deltaworld_ros.engine import load_engine
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.outputs import Leads, Needs, output_table
from deltaworld_ros.node.planner_scene import RobotState
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.plan_risk import assess_plan
from deltaworld_ros.planning.pose import IDENTITY, Twist, mount_of_text

BAG = Path(__file__).parents[1] / 'deltaworld_ros' / 'sample' / 'highway'
ROBOT = RobotState(
    mount=mount_of_text('1.2 0 1.3 0 0 0'),
    ego=Ego(0, 'odom', IDENTITY, Twist(np.array([20.0, 0, 0]), np.array([0, 0, 0.02]))))
SPEED, YAW_RATE = 20.0, 0.02   # of the plan


def main() -> None:
    """Print a table of the outputs and their cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--frames', type=int, default=40)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    manifest = bundle.manifest
    forecaster = Forecaster(load_engine(bundle), manifest)
    # Bounds are learned in the course of a drive.
    rows = [row for row in output_table(manifest.num_futures, False, False)
            if row.plans and row.needs is not Needs.BOUND]
    times: dict[str, list[float]] = {row.name: [] for row in rows}
    forecasts: list[float] = []
    plans: list[float] = []
    with BagFrames(BAG) as bag:
        for number, frame in enumerate(bag):
            if frame.intrinsics is None:
                continue
            height, width = frame.image.shape[:2]
            fit = ImageFit(width, height, manifest.image_width, manifest.image_height)
            image = fit.apply(frame.image)
            forecaster.observe(image, frame.stamp)
            if not forecaster.ready or number % 3:
                continue
            started = time.perf_counter()
            forecast = forecaster.forecast()
            forecasts.append(1e3 * (time.perf_counter() - started))
            camera = Camera(
                width, height, frame.intrinsics, frame.intrinsics,
                np.hstack([frame.intrinsics, np.zeros((3, 1))]), np.eye(3), 'plumb_bob', ())
            to_input = fit.intrinsics(np.eye(3))
            header = Header(frame_id='camera')
            for row in rows:
                # A new result for each: what outputs share is counted with each of them.
                result = FrameResult(
                    header, image, manifest, 'benchmark', camera, to_input,
                    depth_scale(manifest, to_input @ frame.intrinsics), 320, forecast,
                    robot=ROBOT)
                assert result.metres.leads   # every output of maps shares it: it is not counted
                started = time.thread_time()
                message = row.make(result, 0 if row.leads is Leads.ALL else 1)
                serialize_message(message)
                times[row.name].append(1e3 * (time.thread_time() - started))
            if manifest.motion:
                result = FrameResult(
                    header, image, manifest, 'benchmark', camera, to_input,
                    depth_scale(manifest, to_input @ frame.intrinsics), 320, forecast,
                    robot=replace(ROBOT, ego=None))
                started = time.perf_counter()
                answer_plan(forecaster, result)
                plans.append(1e3 * (time.perf_counter() - started))
            if len(times[rows[0].name]) >= arguments.frames:
                break
    print('| output | median (ms) | 95 % (ms) |\n|---|---:|---:|')
    for name, values in times.items():
        print(f'| `{name}` | {np.median(values):.2f} | {np.percentile(values, 95):.2f} |')
    if plans:
        print(f'one more plan: {np.median(plans):.1f} ms (95 %: {np.percentile(plans, 95):.1f}); '
              f'the forecast itself: {np.median(forecasts):.1f} ms')


def answer_plan(forecaster: Forecaster, result: FrameResult) -> None:
    """Forecast under a plan and assess it, as the node does for each that waits."""
    manifest = result.manifest
    motion = np.tile([SPEED, YAW_RATE], (manifest.context_length + manifest.steps, 1))
    forecast = forecaster.forecast(motion=known_motion(motion))
    scene, settings = replace(result, forecast=forecast).scene, ROBOT.settings
    assert scene is not None
    assess_plan(
        scene.futures, motion[manifest.context_length:], manifest.leads, forecast.weights,
        settings.half_width, settings.front, settings.braking, settings.risk_level)


if __name__ == '__main__':
    main()
