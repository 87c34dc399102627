# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The fitted baselines: a blur of the last frame and the mean token."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny_bundle import write_tiny_bundle

from deltaworld_ros.bundle import load_bundle, write_manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.baselines import blur_features, load_baselines


def test_blur_equals_a_naive_filter():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3 * 4, 2)).astype(np.float32)
    kernels = rng.normal(size=(2, 3, 3)).astype(np.float32)
    grid = features.reshape(3, 4, 2)
    expected = np.zeros_like(grid)
    for row in range(3):
        for column in range(4):
            for y in range(3):
                for x in range(3):
                    source = grid[np.clip(row + y - 1, 0, 2), np.clip(column + x - 1, 0, 3)]
                    expected[row, column] += source * kernels[:, y, x]
    np.testing.assert_allclose(
        blur_features(features, kernels, 3), expected.reshape(12, 2), rtol=1e-4, atol=1e-5)


def test_baselines_of_the_wrong_shape_are_refused(tmp_path):
    folder = write_tiny_bundle(tmp_path / 'bundle')
    manifest = load_bundle(folder).manifest
    for arrays, problem in (
            ({'blur': np.zeros((1, 8, 3, 3)), 'mean_token': np.zeros(12)}, 'have the shapes'),
            ({'blur': np.zeros((3, 8, 3, 3))}, 'lacks mean_token')):
        np.savez(folder / 'baselines.npz', **arrays)
        write_manifest(folder, manifest)   # with the file's new hash
        with pytest.raises(UserError, match=problem):
            load_baselines(load_bundle(folder))
