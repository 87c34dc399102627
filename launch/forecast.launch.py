# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Start the forecast node for one camera.

    ros2 launch deltaworld_ros forecast.launch.py image:=/camera/image_raw \
        camera_info:=/camera/camera_info
"""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from deltaworld_ros.node.launch_arguments import FORECAST_LAUNCH, refuse_unknown_arguments

FLAGS = ['true', 'True', 'false', 'False']


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node with them."""
    config = Path(get_package_share_directory('deltaworld_ros')) / 'config'
    return LaunchDescription([
        # Raised while a launch file loads, an error is repeated for each of the file formats.
        OpaqueFunction(
            function=lambda context: refuse_unknown_arguments(__file__, FORECAST_LAUNCH)),
        DeclareLaunchArgument(
            'namespace', default_value='',
            description='Namespace of the node and of its relative topics.'),
        DeclareLaunchArgument(
            'params_file', default_value=str(config / 'forecast.yaml'),
            description='YAML file with the parameters of the node.'),
        DeclareLaunchArgument(
            'bundle', default_value='',
            description='Name of a shipped bundle or path of a bundle folder; '
                        'empty: as in params_file.'),
        DeclareLaunchArgument(
            'image', default_value='image',
            description='Base topic of the images; with transport:=compressed the node '
                        'subscribes to its /compressed.'),
        DeclareLaunchArgument(
            'camera_info', default_value='camera_info',
            description="Topic of the camera's intrinsics."),
        DeclareLaunchArgument(
            'odom', default_value='odom',
            description="Topic of the robot's odometry, for planners."),
        DeclareLaunchArgument(
            'camera_pose', default_value='',
            description='Pose of the camera on the robot, "x y z roll pitch yaw" in m and rad; '
                        'empty: as in params_file.'),
        DeclareLaunchArgument(
            'transport', default_value='', choices=['', 'raw', 'compressed'],
            description='raw or compressed; empty: as in params_file.'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='', choices=['', *FLAGS],
            description='Take the time from /clock; empty: as in params_file.'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Least severe log messages that are shown.'),
        DeclareLaunchArgument(
            'autostart', default_value='true', choices=FLAGS,
            description='Configure and activate the node when it starts.'),
        DeclareLaunchArgument(
            'respawn', default_value='false', choices=FLAGS,
            description='Start the node again when its process ends.'),
        *_large_images(config),
        OpaqueFunction(function=_start_node),
    ])


def _large_images(config: Path) -> list[SetEnvironmentVariable]:
    """Set a Fast DDS profile with shared memory for raw images where none is named yet."""
    return [SetEnvironmentVariable(name, str(config / 'fastdds_large_images.xml'))
            for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
            if name not in os.environ]


def _start_node(context: LaunchContext) -> list[LifecycleNode]:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    params_file = Path(argument('params_file')).expanduser()
    if not params_file.is_file():
        raise FileNotFoundError(f'params_file is {str(params_file)!r}; accepted: a YAML file')
    # An argument that was left empty must not hide what the file says.
    types = {'bundle': str, 'camera_pose': str, 'transport': str, 'use_sim_time': bool,
             'autostart': bool}
    overrides = {name: ParameterValue(LaunchConfiguration(name), value_type=value_type)
                 for name, value_type in types.items() if argument(name)}
    image = argument('image')
    return [LifecycleNode(
        package='deltaworld_ros',
        executable='forecast_node',
        name='forecast',
        namespace=argument('namespace'),
        parameters=[str(params_file), overrides],
        remappings=[
            ('image', image),
            ('image/compressed', f'{image}/compressed'),
            ('camera_info', argument('camera_info')),
            ('odom', argument('odom')),
        ],
        arguments=['--ros-args', '--log-level', argument('log_level')],
        output='screen',
        respawn=argument('respawn').lower() == 'true',
        respawn_delay=1.0,
    )]
