# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Heads with a hidden layer: what they see and what they return."""

import pytest
import torch

from deltaworld_ros.export.precision import fold_batch_norms
from deltaworld_ros.model.registry import network_class

SIZES = {
    'segmentation': {'size': 8, 'hidden': 12, 'classes': 5},
    'depth': {'size': 8, 'hidden': 12, 'bins': 16, 'minimum': 0.5, 'maximum': 40.0,
              'spacing': 'log', 'interpolation': 'inverse'}}


@pytest.mark.parametrize('part', ['segmentation', 'depth'])
def test_a_place_is_read_from_itself_and_its_neighbours(part: str) -> None:
    """A change of one feature reaches the 3 x 3 places around it and no other."""
    torch.manual_seed(0)
    head = network_class(part, 'convolutional')(**SIZES[part]).eval()
    maps = torch.randn(1, 8, 7, 9)
    other = maps.clone()
    other[0, :, 3, 4] += 1.0
    with torch.no_grad():
        changed = (head(maps) != head(other)).any(1)[0]
    expected = torch.zeros(7, 9, dtype=torch.bool)
    expected[2:5, 3:6] = True
    assert torch.equal(changed, expected)


def test_depth_lies_in_its_range() -> None:
    """It is an expectation over the bins, at every place."""
    torch.manual_seed(0)
    head = network_class('depth', 'convolutional')(**SIZES['depth']).eval()
    depth = head(100.0 * torch.randn(2, 8, 4, 6))
    assert depth.shape == (2, 1, 4, 6)
    assert 0.5 <= float(depth.min()) < float(depth.max()) <= 40.001


@pytest.mark.parametrize('part', ['segmentation', 'depth'])
def test_folding_the_norm_changes_nothing(part: str) -> None:
    """The graph's head equals the trained one, at the borders too."""
    torch.manual_seed(0)
    head = network_class(part, 'convolutional')(**SIZES[part])
    maps = torch.randn(4, 8, 5, 6)
    for _ in range(20):
        head.train()(maps)
    with torch.no_grad():
        expected = head.eval()(maps)
        fold_batch_norms(head)
        assert torch.allclose(head(maps), expected, atol=1e-4)
