#!/usr/bin/env bash
# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# Run a command with ROS 2 sourced: where apt puts it, or where a build from source does.
set -e
for setup in /opt/ros/jazzy/setup.bash /opt/ros/jazzy/install/setup.bash; do
  if [ -f "$setup" ]; then
    # shellcheck disable=SC1090
    source "$setup"
    break
  fi
done
exec "$@"
