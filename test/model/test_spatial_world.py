# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINO-world's predictor: its rotation, its mask and its rollout."""

import math

import pytest
import torch

from deltaworld_ros.model.rotary import rotate_leading
from deltaworld_ros.model.spatial_world import SpatialWorld, axial_table, block_causal_mask

GRID = (2, 3)
PATCHES = 6
TIMES = torch.tensor([[-0.9, -0.5, -0.2, 0.0, 0.3], [-0.6, -0.4, -0.1, 0.0, 0.1]]).double()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Make every test's random numbers its own."""
    torch.manual_seed(4)


def small_world(learned_query: bool = False) -> SpatialWorld:
    """Return a model with heads of 64 values, whose every branch counts."""
    return SpatialWorld(128, 2, 2, 96, 10, learned_query, layer_scale=1.0).eval()


def test_each_axis_turns_its_own_twenty_values() -> None:
    """Of 64 values, time, y and x move 20 each; four never move."""
    assert small_world().frequencies == 10
    x = torch.randn(64)
    reference = axial_table(torch.zeros(1, 1), (3, 3), 10)
    centre = rotate_leading(x, reference[0][0, 4], reference[1][0, 4])
    assert torch.equal(centre, x)
    later = axial_table(torch.full((1, 1), 0.314), (3, 3), 10)
    moved = [
        (rotate_leading(x, cos, sin) - x).abs() > 1e-7 for cos, sin in (
            (later[0][0, 4], later[1][0, 4]),
            (reference[0][0, 7], reference[1][0, 7]),
            (reference[0][0, 5], reference[1][0, 5]))
    ]
    assert [int(axis.sum()) for axis in moved] == [20, 20, 20]
    assert not (moved[0] & moved[1]).any() and not (moved[1] & moved[2]).any()
    assert not torch.stack(moved)[:, 60:].any()


def test_times_turn_with_the_released_range_of_frequencies() -> None:
    """From 100 turns a second to one in 100 s, evenly in the logarithm, 2 pi t each."""
    time = 0.0123
    cos, sin = axial_table(torch.full((1, 1), time).double(), (1, 1), 10)
    turns = torch.tensor([10.0 ** (2.0 - 4.0 * k / 9.0) for k in range(10)]).double() * time
    torch.testing.assert_close(cos[0, 0, :10].double(), (2 * math.pi * turns).cos(), atol=1e-6,
                               rtol=0.0)
    torch.testing.assert_close(sin[0, 0, :10].double(), (2 * math.pi * turns).sin(), atol=1e-6,
                               rtol=0.0)


def test_mask_is_causal_by_blocks() -> None:
    """Queries of the second predicted frame see two whole frames."""
    mask = block_causal_mask(3, 2)
    assert mask.shape == (6, 6)
    assert mask.sum(1).tolist() == [2, 2, 4, 4, 6, 6]
    assert mask[2, :4].all()


@pytest.mark.parametrize('learned_query', [False, True])
def test_teacher_forcing_equals_predicting_frame_by_frame(learned_query: bool) -> None:
    """One masked pass gives what a rollout of one step gives from each shorter past."""
    model = small_world(learned_query)
    features = torch.randn(2, 5, PATCHES, 10)
    queries = torch.randn(2, 4, 128)
    parallel = model(features, TIMES, queries, GRID)
    for frame in range(1, 5):
        alone = model.rollout(
            features[:, :frame], TIMES[:, :frame + 1], queries[:, None, frame - 1:frame], GRID)
        torch.testing.assert_close(alone[:, 0, 0], parallel[:, frame - 1], atol=1e-5, rtol=1e-4)
    assert parallel.std() > 0.1


def test_future_frames_change_nothing() -> None:
    """Permuting and changing later frames leaves the predictions before them alone."""
    model = small_world()
    features = torch.randn(2, 5, PATCHES, 10)
    queries = torch.randn(2, 4, 128)
    permuted = features[:, [0, 1, 4, 2, 3]]
    before, after = (model(x, TIMES, queries, GRID) for x in (features, permuted))
    # Frame 2, the third, is predicted from frames 0 and 1 alone.
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert (before[:, 2:] - after[:, 2:]).abs().max() > 1e-2


def test_rollout_appends_each_samples_own_frames() -> None:
    """Two steps equal one step from a past that holds the sample's own first frame."""
    model = small_world()
    features = torch.randn(2, 3, PATCHES, 10)
    noise = torch.randn(2, 4, 2, 128)
    future = model.rollout(features, TIMES, noise, GRID)
    assert future.shape == (2, 4, 2, PATCHES, 10)
    for sample in range(4):
        past = torch.cat([features, future[:, sample, :1]], dim=1)
        second = model.rollout(past, TIMES, noise[:, sample:sample + 1, 1:], GRID)
        torch.testing.assert_close(second[:, 0, 0], future[:, sample, 1], atol=1e-5, rtol=1e-4)
    assert (future[:, 0] - future[:, 1]).abs().max() > 1e-2


def test_learned_query_ignores_the_noise() -> None:
    """The discriminative model has one future, and its query learns."""
    model = small_world(learned_query=True)
    features = torch.randn(2, 4, PATCHES, 10)
    future = model.rollout(features, TIMES, torch.randn(2, 2, 1, 128), GRID)
    torch.testing.assert_close(future[:, 0], future[:, 1])
    future.square().mean().backward()
    assert model.query.grad is not None and model.query.grad.abs().sum() > 0.0


def test_places_are_told_apart() -> None:
    """The same query gives other features at other patches, by the rotation alone."""
    model = small_world()
    future = model.rollout(
        torch.randn(1, 4, PATCHES, 10), TIMES[:1], torch.randn(1, 1, 1, 128), GRID)
    assert future[0, 0, 0].std(0).min() > 1e-3
