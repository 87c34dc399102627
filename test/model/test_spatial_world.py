# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINO-world's predictor: its rotation, its mask and its rollout."""

import math

import numpy as np
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


def rotated_by_hand(x: np.ndarray, time: float, row: int, column: int) -> np.ndarray:
    """
    Rotate a head (h,) as the release says, one pair of numbers after the other in float64.

    The axes are time, x and y; each has its own contiguous values, of which the first half is
    paired with the second; linspace(-1, 1) has the outer patches at -1 and 1.
    """
    rows, columns = GRID
    count = len(x) // 6
    coordinates = [
        time, -1.0 + 2.0 * column / (columns - 1), -1.0 + 2.0 * row / (rows - 1)]
    turned = x.astype(np.float64)
    for axis, coordinate in enumerate(coordinates):
        for k in range(count):
            angle = 2.0 * math.pi * coordinate * 10.0 ** (2.0 - 4.0 * k / (count - 1))
            i = 2 * count * axis + k
            j = i + count
            turned[i] = x[i] * math.cos(angle) - x[j] * math.sin(angle)
            turned[j] = x[i] * math.sin(angle) + x[j] * math.cos(angle)
    return turned


@pytest.mark.parametrize('head', [64, 32, 50])
def test_each_axis_turns_its_own_values(head: int) -> None:
    """Of 64 values time, x and y turn 20 each and 4 rest, with frequencies from 100 to 0.01."""
    frequencies = SpatialWorld(2 * head, 2, 1, 8, 10).frequencies
    assert frequencies == head // 6
    x = torch.randn(head)
    cos, sin = axial_table(TIMES, GRID, frequencies)
    for frame in range(TIMES.shape[1]):
        for patch in range(PATCHES):
            at = frame * PATCHES + patch
            expected = rotated_by_hand(
                x.numpy(), float(TIMES[1, frame]), *divmod(patch, GRID[1]))
            np.testing.assert_allclose(
                rotate_leading(x, cos[1, at], sin[1, at], axes=3).numpy(), expected, atol=2e-6)


def test_the_predictor_uses_that_rotation() -> None:
    """Attention by hand, from the block's own projections, gives what the block attends to."""
    model = small_world()
    attention = model.predictor.layers()[0].attention
    context, query = torch.randn(1, 2 * PATCHES, 10), torch.randn(1, PATCHES, 128)
    cos, sin = axial_table(TIMES[:1, :3], GRID, model.frequencies)
    past, now = slice(0, 2 * PATCHES), slice(2 * PATCHES, None)
    keys, values = attention.keys_values(context, (cos[:, past], sin[:, past]))
    found = attention(query, keys, values, (cos[:, now], sin[:, now]))[0].detach().numpy()
    q = attention.q_proj(query)[0].detach().numpy().astype(np.float64)
    k, v = np.split(attention.kv_proj(context)[0].detach().numpy().astype(np.float64), 2, axis=1)
    places = [(frame, *divmod(patch, GRID[1])) for frame in range(3) for patch in range(PATCHES)]
    heads = []
    for head in (slice(0, 64), slice(64, 128)):
        turned = [
            np.stack([rotated_by_hand(row[head], float(TIMES[0, frame]), *place)
                      for row, (frame, *place) in zip(array, at, strict=True)])
            for array, at in ((q, places[2 * PATCHES:]), (k, places[:2 * PATCHES]))]
        scores = np.exp(turned[0] @ turned[1].T / 8.0)
        heads.append(scores / scores.sum(1, keepdims=True) @ v[:, head])
    weight = attention.out_proj.weight.detach().numpy().astype(np.float64)
    expected = np.concatenate(heads, axis=1) @ weight.T + attention.out_proj.bias.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


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
    assert model.q_embed.weight.grad is not None and model.q_embed.weight.grad.abs().sum() > 0.0


def test_places_are_told_apart() -> None:
    """The same query gives other features at other patches, by the rotation alone."""
    model = small_world()
    future = model.rollout(
        torch.randn(1, 4, PATCHES, 10), TIMES[:1], torch.randn(1, 1, 1, 128), GRID)
    assert future[0, 0, 0].std(0).min() > 1e-3
