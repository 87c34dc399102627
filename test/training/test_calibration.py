# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the temperatures of the confidence are fitted on."""

from typing import Literal

import numpy as np
import pytest
import torch
from support.network_bundle import random_networks, small_recipe

from deltaworld_ros.export.graphs import graph_modules
from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.runs.bundle_manifest import bundle_manifest
from deltaworld_training.stages.calibration import fit_temperatures, published_guesses
from deltaworld_training.stages.sampled_windows import SampledWindow


@pytest.mark.parametrize('fused', ['features', 'tokens'])
def test_the_published_map_is_judged(fused: Literal['features', 'tokens']) -> None:
    """Its labels are those of the bundle's graph, whatever the fused maps are made of."""
    recipe = small_recipe()
    recipe.needed('forecast').fused = fused
    manifest = bundle_manifest(recipe)
    decode = graph_modules(random_networks(recipe), manifest)['decode']
    window = some_window(recipe.grid, manifest.steps, manifest.feature_size, manifest.token_size)
    guesses = published_guesses(manifest, decode, [window])
    with torch.no_grad():
        published = decode(
            window.features[:1], window.tokens[None], window.weights[None])[2][0]
    assert [len(lead) for lead in guesses] == [1] * (manifest.steps + 1)
    for lead, (guess,) in enumerate(guesses):
        assert torch.equal(guess.labels.int(), published[lead].int())
        assert np.array_equal(guess.right, published[lead].numpy() == window.labels[lead])
        assert np.array_equal(guess.known, window.labels[lead] != UNLABELLED)


def test_temperatures_are_one_a_lead() -> None:
    """Each is fitted for itself, and the present's stays at one where no frame has labels."""
    recipe = small_recipe()
    manifest = bundle_manifest(recipe)
    networks = random_networks(recipe)
    window = some_window(recipe.grid, manifest.steps, manifest.feature_size, manifest.token_size)
    labelled = fit_temperatures(networks, manifest, [[window]])
    assert len(labelled) == manifest.steps + 1
    # Random labels come true as often as chance has it: no class may be nearly certain.
    assert min(labelled) > 1.0
    bare = SampledWindow(
        window.features, np.full_like(window.labels, UNLABELLED), window.tokens, window.weights)
    assert fit_temperatures(networks, manifest, [[bare]])[0] == 1.0


def some_window(
    grid: tuple[int, int], steps: int, feature_size: int, token_size: int,
) -> SampledWindow:
    """Return a window of random features with three unlike futures and random labels."""
    generator = torch.Generator().manual_seed(1)
    labels = np.random.default_rng(1).integers(0, 10, (1 + steps, 32, 48), dtype=np.uint8)
    labels[:, :4] = UNLABELLED
    return SampledWindow(
        torch.randn(1 + steps, grid[0] * grid[1], feature_size, generator=generator), labels,
        torch.randn(3, steps, token_size, generator=generator), torch.tensor([0.5, 0.3, 0.2]))
