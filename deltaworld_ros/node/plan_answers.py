# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answer plans: forecast the newest image under each, and publish the risk of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header, String

from deltaworld_ros.bundle.motion import known_motion
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.outputs import OUTPUT_QOS
from deltaworld_ros.node.plan_input import PlanInput
from deltaworld_ros.node.planner_inputs import PlannerInputs
from deltaworld_ros.node.planner_scene import RobotState
from deltaworld_ros.planning.plan import Plan, planned_motion
from deltaworld_ros.planning.plan_risk import assess_plan


class PlanAnswers:
    """
    Answers the plans that wait, on the topic `<prefix>/plan/risk`; `answer` is for the worker.

    The topic is made when the node is configured and publishes while it is active.
    """

    def __init__(self, node: LifecycleNode, prefix: str, inputs: PlanInput,
                 planner: PlannerInputs) -> None:
        self._node = node
        self._inputs = inputs
        self._planner = planner
        self._publisher = node.create_lifecycle_publisher(
            String, f'{prefix}/plan/risk', OUTPUT_QOS)

    def answer(self, forecaster: Forecaster, result: FrameResult,
               robot: Callable[[], RobotState]) -> None:
        """Answer every plan by a forecast from the newest frame, once its context is whole."""
        if not forecaster.ready:
            return
        plans = self._inputs.take()
        if plans and not self._publisher.get_subscription_count():
            self._inputs.refuse(UserError(
                f'plan: nobody subscribes to the answers on {self._publisher.topic_name}'))
            return
        for header, plan in plans:
            self._publisher.publish(
                String(data=json.dumps(self._answer(forecaster, result, robot(), header, plan))))

    def destroy(self) -> None:
        """Take the topic away."""
        self._node.destroy_lifecycle_publisher(self._publisher)

    def _answer(self, forecaster: Forecaster, result: FrameResult, robot: RobotState,
                header: Header, plan: Plan) -> dict[str, object]:
        leads = result.manifest.leads
        facts: dict[str, object] = {
            'plan': _stamp(header), 'stamp': _stamp(result.header),
            'frame_id': robot.base_frame, 'age': round(result.age, 6), 'valid': False}
        try:
            planned = planned_motion(plan, result.stamp_ns, leads)
            if result.camera is None:
                raise UserError('plan: there is no camera_info')
            if robot.mount is None:
                raise UserError('plan: camera_pose is unknown')
        except UserError as error:
            self._inputs.refuse(error)
            return {**facts, 'reason': str(error)}
        past, unknown = self._planner.past(forecaster.context_stamps_ns)
        forecast = forecaster.forecast(motion=known_motion(np.concatenate([past, planned])))
        # Each lead is seen from where the plan has the robot then, so nothing is to be moved.
        scene = replace(result, forecast=forecast, robot=replace(robot, ego=None)).scene
        assert scene is not None
        settings = robot.settings
        found = assess_plan(
            scene.futures, planned, leads, forecast.weights, settings.half_width, settings.front,
            settings.braking, settings.risk_level)
        self._inputs.problem = f'past motion is unknown: {unknown}' if unknown else ''
        return {
            **facts, 'valid': True, 'reason': '', 'past': unknown or 'known',
            'leads': list(leads), 'speed': _rounded(planned[:, 0]),
            'yaw_rate': _rounded(planned[:, 1]), 'probability': _rounded(found.probability),
            'cvar': _rounded(found.cvar), 'any_probability': round(found.any_probability, 4),
            'any_cvar': round(found.any_cvar, 4), 'level': settings.risk_level,
            'first_conflict': found.first_conflict}


def _stamp(header: Header) -> dict[str, int]:
    return {'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
