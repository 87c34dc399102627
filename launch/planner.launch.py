# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Start the forecast node with what planners need, and the speed governor between planner and robot.

    ros2 launch deltaworld_ros planner.launch.py image:=/camera/image_raw \
        camera_info:=/camera/camera_info odom:=/odom camera_pose:="1.2 0 1.5 0 0 0" \
        cmd_vel_in:=cmd_vel_planned cmd_vel_out:=cmd_vel
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from deltaworld_ros.node.launch_arguments import FORECAST_LAUNCH, refuse_unknown_arguments

# Handed on to forecast.launch.py.
FORECAST_ARGUMENTS = {
    'namespace': ('', 'Namespace of both nodes and of their relative topics.'),
    'bundle': ('', 'Name of a shipped bundle or path of a bundle folder.'),
    'image': ('image', 'Base topic of the images.'),
    'camera_info': ('camera_info', "Topic of the camera's intrinsics."),
    'odom': ('odom', "Topic of the robot's odometry."),
    'camera_pose': ('', 'Pose of the camera on the robot, "x y z roll pitch yaw"; empty: TF.'),
    'transport': ('', 'raw or compressed.'),
    'use_sim_time': ('', 'Take the time from /clock.'),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, include the forecast node and start the governor."""
    share = Path(get_package_share_directory('deltaworld_ros'))
    forecast = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / 'launch' / 'forecast.launch.py')),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in FORECAST_ARGUMENTS])
    governor = Node(
        package='deltaworld_ros',
        executable='speed_governor',
        name='speed_governor',
        namespace=LaunchConfiguration('namespace'),
        parameters=[LaunchConfiguration('governor_params'), {
            'max_speed': ParameterValue(LaunchConfiguration('max_speed'), value_type=float),
            'safe_speed': ParameterValue(LaunchConfiguration('safe_speed'), value_type=float)}],
        remappings=[
            ('obstacles', 'forecast/futures/obstacles'),
            ('forecast_info', 'forecast/forecast_info'),
            ('cmd_vel', LaunchConfiguration('cmd_vel_in')),
            ('cmd_vel_limited', LaunchConfiguration('cmd_vel_out')),
        ],
        output='screen',
        condition=IfCondition(LaunchConfiguration('governor')))
    arguments = [
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in FORECAST_ARGUMENTS.items()),
        DeclareLaunchArgument(
            'governor', default_value='true', description='Start the speed governor.'),
        DeclareLaunchArgument(
            'governor_params', default_value=str(share / 'config' / 'speed_governor.yaml'),
            description='YAML file with the parameters of the speed governor.'),
        DeclareLaunchArgument(
            'max_speed', default_value='2.0', description='Highest speed in m/s.'),
        DeclareLaunchArgument(
            'safe_speed', default_value='0.0',
            description='Speed in m/s where nothing is known of obstacles.'),
        DeclareLaunchArgument(
            'cmd_vel_in', default_value='cmd_vel_planned',
            description='Topic of the commands that come in.'),
        DeclareLaunchArgument(
            'cmd_vel_out', default_value='cmd_vel',
            description='Topic of the commands that go out.'),
    ]
    names = [*(argument.name for argument in arguments), *FORECAST_LAUNCH]
    return LaunchDescription([
        OpaqueFunction(function=lambda context: refuse_unknown_arguments(__file__, names)),
        *arguments, forecast, governor])
