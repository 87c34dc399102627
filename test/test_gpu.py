# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""On an NVIDIA GPU the engine keeps features on the device and passes the golden check."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import check_parity, load_engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif('CUDAExecutionProvider' not in onnxruntime.get_available_providers(),
                       reason='needs an NVIDIA GPU and onnxruntime-gpu (make gpu-test)'),
]
SHIPPED = sorted((Path(__file__).resolve().parents[1] / 'deltaworld_ros/bundles').glob('*/'))


@pytest.mark.parametrize('bundle', [None, *SHIPPED], ids=['tiny', *(b.name for b in SHIPPED)])
def test_cuda_reproduces_the_golden_outputs(bundle: Path | None, tiny_bundle: Path):
    loaded = load_bundle(bundle or tiny_bundle)
    engine = load_engine(loaded, 'onnxruntime-cuda')
    assert 'CUDA' in engine.name
    assert check_parity(engine, loaded).passed
    engine.close()
