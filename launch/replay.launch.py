# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Replay a recording into the forecast node, and show it in RViz or serve it to Foxglove.

    ros2 launch deltaworld_ros replay.launch.py bag:=drive.mcap viewer:=rviz
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration
from launch_ros.actions import Node

from deltaworld_ros.bags.messages import CameraMessages, check_rate
from deltaworld_ros.bags.reader import CAMERA_INFO, COMPRESSED
from deltaworld_ros.bags.topic_names import ros_topic
from deltaworld_ros.errors import UserError
from deltaworld_ros.node.launch_arguments import FORECAST_LAUNCH, refuse_unknown_arguments

FLAGS = ['true', 'True', 'false', 'False']
# Handed on to forecast.launch.py.
FORECAST_ARGUMENTS = {
    'bundle': ('', 'Name of a shipped bundle or path of a bundle folder.'),
    'camera_pose': ('', 'Pose of the camera on the robot, "x y z roll pitch yaw"; empty: TF.'),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the replay, the node and the viewer."""
    config = Path(get_package_share_directory('deltaworld_ros')) / 'config'
    arguments = [
        DeclareLaunchArgument(
            'bag', description='A rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.'),
        DeclareLaunchArgument('rate', default_value='1.0', description='Speed; 1 is real time.'),
        DeclareLaunchArgument(
            'loop', default_value='false', choices=FLAGS, description='Start again at the end.'),
        DeclareLaunchArgument(
            'camera', default_value='',
            description='Image topic of the bag; empty: the only one.'),
        DeclareLaunchArgument(
            'viewer', default_value='none', choices=['none', 'rviz', 'foxglove'],
            description='rviz, foxglove (its bridge, port 8765) or none.'),
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in FORECAST_ARGUMENTS.items()),
    ]
    names = [*(argument.name for argument in arguments), *FORECAST_LAUNCH]
    return LaunchDescription([
        OpaqueFunction(function=lambda context: refuse_unknown_arguments(__file__, names)),
        *arguments,
        OpaqueFunction(function=_start),
        Node(package='rviz2', executable='rviz2', name='rviz',
             arguments=['-d', str(config / 'forecast.rviz')],
             parameters=[{'use_sim_time': True}],
             condition=_viewer_is('rviz')),
        Node(package='foxglove_bridge', executable='foxglove_bridge', name='foxglove_bridge',
             parameters=[{'use_sim_time': True}],
             condition=_viewer_is('foxglove')),
    ])


def _viewer_is(name: str) -> IfCondition:
    return IfCondition(EqualsSubstitution(LaunchConfiguration('viewer'), name))


def _speed(text: str) -> str:
    # The replay would tell it too, but beside it the node would wait for images for ever.
    try:
        rate = float(text)
    except ValueError:
        raise UserError(f'rate {text!r}: must be a number; 1 is real time') from None
    check_rate(rate)
    return text


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start the forecast node on the bag's own topics, and the replay of them."""
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    rate = _speed(argument('rate'))
    bag, camera = Path(argument('bag')).expanduser(), argument('camera') or None
    with CameraMessages(bag, camera) as messages:
        topics = messages.topics
    infos = [topic for topic, kind in topics.items() if kind == CAMERA_INFO]
    images = [topic for topic in topics if topic not in infos]
    if len(images) != 1:
        raise ValueError(f'{bag} has the image topics {", ".join(images) or "none"}; choose one '
                         'with camera:=TOPIC')
    compressed, image = topics[images[0]] == COMPRESSED, ros_topic(images[0])
    share = Path(get_package_share_directory('deltaworld_ros'))
    forecast = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / 'launch' / 'forecast.launch.py')),
        launch_arguments=[
            ('image', image.removesuffix('/compressed')),
            ('camera_info', ros_topic(infos[0]) if infos else 'camera_info'),
            ('transport', 'compressed' if compressed else 'raw'),
            ('use_sim_time', 'true'),
            *((name, LaunchConfiguration(name)) for name in FORECAST_ARGUMENTS)])
    command = ['ros2', 'run', 'deltaworld_ros', 'deltaworld', 'replay', str(bag), '--clock',
               '--rate', rate, '--wait', '30', '--quiet', '--image-topic', image,
               *(['--camera-info-topic', ros_topic(infos[0])] if len(infos) == 1 else []),
               *(['--loop'] if argument('loop').lower() == 'true' else []),
               *(['--image', camera] if camera else [])]
    return [forecast, ExecuteProcess(cmd=command, name='replay', output='screen')]
