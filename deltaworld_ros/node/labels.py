# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The latched topics that list the bundle's classes."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header, String

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.node.messages import label_info_message, vision_label_info_message

LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def publish_labels(node: LifecycleNode, manifest: Manifest) -> list[Publisher]:
    """Publish `~/label_info`, and `~/vision_label_info` where vision_msgs is installed."""
    publishers = [node.create_publisher(String, '~/label_info', LATCHED_QOS)]
    publishers[0].publish(label_info_message(manifest))
    try:
        import vision_msgs.msg
    except ImportError:
        return publishers
    publishers.append(node.create_publisher(
        vision_msgs.msg.LabelInfo, '~/vision_label_info', LATCHED_QOS))
    header = Header(stamp=node.get_clock().now().to_msg())
    publishers[1].publish(vision_label_info_message(vision_msgs.msg, header, manifest))
    return publishers
