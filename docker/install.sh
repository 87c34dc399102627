#!/usr/bin/env bash
# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# Install this repository into a new virtual environment beside the machine's ROS 2:
#
#   docker/install.sh FOLDER GPU_PACKAGES TENSORRT
#
# GPU_PACKAGES take the place of onnxruntime unless empty; TENSORRT=1 adds the extra `tensorrt`.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 gpu_packages=$2 tensorrt=$3

python3 -m venv --system-site-packages "$folder"
# Images of Jetsons may have an environment of their own, which the new one does not look into.
python3 -c 'import sys; [print(f"import site; site.addsitedir({path!r})")
for path in sys.path if path.endswith("-packages")]' \
  > "$folder/lib/$(ls "$folder/lib")/site-packages/of_the_image.pth"
pip=("$folder/bin/python" -m pip --isolated --disable-pip-version-check --no-cache-dir)

# The compiled packages of ROS need the NumPy that they were built with.
python3 -c 'import numpy; print(f"numpy=={numpy.__version__}")' > "$folder/constraints.txt"
extras=$([ "$tensorrt" = 1 ] && echo '[tensorrt]' || true)
"${pip[@]}" install --constraint "$folder/constraints.txt" ".$extras" 'onnx>=1.16'
if [ -n "$gpu_packages" ]; then
  # Both packages are one module: the CPU's must not lie over the GPU's.
  "${pip[@]}" uninstall --yes onnxruntime
  # shellcheck disable=SC2086
  "${pip[@]}" install --constraint "$folder/constraints.txt" $gpu_packages
fi
"$folder/bin/deltaworld" bundle info street-lite0 > /dev/null
