# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
On an NVIDIA GPU every engine there is passes the golden check, in half precision too.

Their twins on the CPU are in test_engine.py, test_export_precision.py and, for TensorRT,
test_tensorrt_build.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.vit_bundle import vit_bundle

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine import ENGINES, Engine, EngineUnavailable, check_parity
from deltaworld_ros.forecast.forecaster import Forecaster

pytestmark = [
    pytest.mark.gpu,
    # Engines are built here for the first time, and the networks of ViT-B's width exported.
    pytest.mark.timeout(600),
    pytest.mark.skipif(not torch.cuda.is_available(),
                       reason='needs an NVIDIA GPU and a CUDA build of torch (make gpu-test)'),
]
GPU_ENGINES = [name for name in ENGINES if name != 'onnxruntime-cpu']
BUNDLES = ['tiny', 'street-lite0', 'vit fp32', 'vit fp16', 'vit bf16']


def bundle_of(name: str, tiny_bundle: Path) -> Bundle:
    if name.startswith('vit '):
        return vit_bundle(name[4:])  # type: ignore[arg-type]
    return load_bundle(tiny_bundle if name == 'tiny' else name)


def engine_of(name: str, bundle: Bundle) -> Engine:
    try:
        engine = ENGINES[name](bundle, 0)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    assert 'cpu' not in engine.name.lower()
    return engine


@pytest.mark.parametrize('bundle', BUNDLES)
@pytest.mark.parametrize('engine', GPU_ENGINES)
def test_engine_reproduces_the_golden_outputs(
        engine: str, bundle: str, tiny_bundle: Path) -> None:
    if (engine, bundle) == ('onnxruntime-cuda', 'vit bf16'):
        pytest.skip('ONNX Runtime lacks some bfloat16 operators')
    loaded = bundle_of(bundle, tiny_bundle)
    running = engine_of(engine, loaded)
    report = check_parity(running, loaded)
    running.close()
    assert report.passed, report


@pytest.mark.parametrize('engine', GPU_ENGINES)
def test_forecasts_go_on_from_features_on_the_device(engine: str) -> None:
    loaded = load_bundle('street-lite0')
    running = engine_of(engine, loaded)
    forecaster = Forecaster(running, loaded.manifest)
    frames = torch.randint(0, 256, (6, 192, 320, 3), dtype=torch.uint8).numpy()
    for index, frame in enumerate(frames):
        forecaster.observe(frame, 0.2 * index)
    forecast = forecaster.forecast()
    running.close()
    assert forecast.labels is not None and forecast.labels.shape[:2] == (6, 3)
    assert abs(float(forecast.weights.sum()) - 1.0) < 1e-4
