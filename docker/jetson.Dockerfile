# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# The forecast node for Jetsons with JetPack 6 (L4T r36). Its Ubuntu 22.04 has no ROS 2 Jazzy in
# apt, so the base image is of Ubuntu 24.04 with CUDA, TensorRT and a Jazzy built from source. With
# JetPack 7 use docker/Dockerfile. Build it on the Jetson, in the repository's root:
#
#   docker build --file docker/jetson.Dockerfile --tag deltaworld_ros .
#   docker run --rm --runtime nvidia --network host --ipc host deltaworld_ros
ARG BASE=dustynv/ros:jazzy-ros-base-r36.4.0-cu128-24.04
# hadolint ignore=DL3006
FROM $BASE

ENV RMW_IMPLEMENTATION=rmw_fastrtps_cpp \
    ORT_DISABLE_TELEMETRY=1 \
    FASTRTPS_DEFAULT_PROFILES_FILE=/opt/deltaworld_ros/source/config/fastdds_large_images.xml \
    PATH=/opt/deltaworld_ros/bin:$PATH

WORKDIR /opt/deltaworld_ros/source
COPY setup.py setup.cfg pyproject.toml package.xml LICENSE README.md ./
COPY deltaworld_ros deltaworld_ros
COPY launch launch
COPY config config
COPY resource resource
COPY docker/install.sh docker/install.sh
# TensorRT is in the image; ONNX Runtime runs on the CPU where TensorRT does not start.
RUN docker/install.sh /opt/deltaworld_ros "" 0

COPY docker/entrypoint.sh docker/entrypoint.sh
ENTRYPOINT ["/opt/deltaworld_ros/source/docker/entrypoint.sh"]
CMD ["forecast_node", "--ros-args", "--params-file", "config/forecast.yaml", "--param", "autostart:=true"]
