# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep a lifecycle node alive when it is asked for a transition that does not fit its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode


def refuse_impossible_transitions(node: LifecycleNode, state: Callable[[], str]) -> None:
    """
    Let a node refuse a transition that does not fit its state, which `state` names.

    In rclpy from Humble (3.3) to Kilted (9.1) the error of its state machine ends the process,
    and only a private attribute leads to the service. Where a later rclpy has none, this is
    left to rclpy.
    """
    service = getattr(node, '_service_change_state', None)
    if service is None:
        return
    change_state = service.callback

    def guarded(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except RuntimeError as error:   # rclpy's RCLError is one
            node.get_logger().error(f'transition refused while {state()}: {error}')
            response.success = False
            return response

    service.callback = guarded
