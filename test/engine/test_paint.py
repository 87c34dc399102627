# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The graph that paints is checked when it is first needed, and paints what it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from support.tiny_bundle import fading_frames, write_tiny_bundle

from deltaworld_ros.bundle import load_bundle, write_manifest
from deltaworld_ros.engine import PaintingGraph, load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster


def test_pictures_are_those_of_the_heaviest_future(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path / 'tiny', paints=True))
    m = bundle.manifest
    engine = load_engine(bundle, 'onnxruntime', threads=1)
    painter = PaintingGraph.of(bundle, threads=1)
    assert painter is not None
    forecaster = Forecaster(engine, m, painter=painter)
    frames = fading_frames(m, 4)
    for index, frame in enumerate(frames):
        forecaster.observe(frame, m.stride * index)
    forecast = forecaster.forecast(pictures=(1, 3))
    assert list(forecast.pictures) == [1, 3]
    assert forecast.pictures[1].shape == frames[0].shape
    # They go on growing brighter, as the frames did, and are near what was seen last.
    last = frames[-1].mean()
    assert last < forecast.pictures[1].mean() < forecast.pictures[3].mean() < last + 60
    assert forecaster.forecast().pictures == {}


def test_a_bundle_without_the_graph_has_no_painter(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert PaintingGraph.of(bundle) is None
    forecaster = Forecaster(load_engine(bundle, 'onnxruntime', threads=1), bundle.manifest)
    for index, frame in enumerate(fading_frames(bundle.manifest, 4)):
        forecaster.observe(frame, bundle.manifest.stride * index)
    with pytest.raises(UserError, match="bundle 'tiny': has no painter"):
        forecaster.forecast(pictures=(1,))


def test_another_graph_than_the_verified_one_is_refused(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path / 'tiny', paints=True))
    features = np.zeros((1, bundle.manifest.num_patches, bundle.manifest.feature_size), np.float32)
    path = bundle.path / 'paint.onnx'
    model = onnx.load(path)
    model.graph.output[0].name = model.graph.node[-1].output[0] = 'drawing'
    onnx.save(model, path)
    with pytest.raises(UserError, match='paint.onnx: was altered since'):
        PaintingGraph(bundle).paint(features)
    write_manifest(bundle.path, bundle.manifest)
    with pytest.raises(UserError, match='paint.onnx: .*picture'):
        PaintingGraph(load_bundle(bundle.path)).paint(features)
