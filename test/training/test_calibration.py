# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the confidence and the shares of the present are fitted on."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from support.network_bundle import random_networks, small_recipe

from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.runs.bundle_manifest import bundle_manifest
from deltaworld_training.stages.calibration import (
    fit_confidence,
    mixed_classes,
    published_labels,
    window_scores,
)
from deltaworld_training.stages.sampled_windows import SampledWindow


@pytest.mark.parametrize(('fused', 'shares'), [
    ('features', []), ('tokens', []), ('tokens', [0.1, 0.3, 0.5])])
def test_the_published_map_is_judged(
    fused: Literal['features', 'tokens'], shares: list[float],
) -> None:
    """Its labels are those of the bundle's graph, whatever the fused maps are made of."""
    recipe = small_recipe()
    recipe.needed('forecast').fused = fused
    temperatures = [1.0, 0.5, 2.0, 1.5]
    manifest = bundle_manifest(recipe, temperatures, 1.0, shares)
    decode = graph_modules(random_networks(recipe), manifest)['decode']
    window = some_window(recipe.grid, manifest.steps, manifest.feature_size, manifest.token_size)
    found = window_scores(manifest, decode, [window])
    with torch.no_grad():
        published = decode(
            window.features[:1], window.tokens[None], window.weights[None])
        assert [len(lead) for lead in found] == [1] * (manifest.steps + 1)
        for lead, (one,) in enumerate(found):
            how = temperatures[lead], shares[lead - 1] if lead and shares else None
            labels = published_labels(decode, one, *how)
            assert torch.equal(labels.int(), published[2][:, lead].int())
            assert torch.allclose(
                mixed_classes(decode, one, *how), published[6][:, lead], atol=1e-6)
            assert np.array_equal(one.truth, enlarge_map(
                window.labels[lead], (manifest.map_width, manifest.map_height)))


def test_temperatures_are_one_a_lead() -> None:
    """Each is fitted for itself, and the present's stays at one where no frame has labels."""
    recipe = small_recipe()
    recipe.needed('forecast').fused = 'features'
    manifest = bundle_manifest(recipe)
    networks = random_networks(recipe)
    window = some_window(recipe.grid, manifest.steps, manifest.feature_size, manifest.token_size)
    labelled, shares = fit_confidence(networks, manifest, [[window]])
    assert len(labelled) == manifest.steps + 1
    # The mean features' maps are not mixed.
    assert shares == []
    # Random labels come true as often as chance has it: no class may be nearly certain.
    assert min(labelled) > 1.0
    bare = SampledWindow(
        window.features, np.full_like(window.labels, UNLABELLED), window.tokens, window.weights)
    assert fit_confidence(networks, manifest, [[bare]])[0][0] == 1.0


@pytest.mark.parametrize('came', ['present', 'forecast'])
def test_the_present_gets_a_share_where_it_comes_true(came: str) -> None:
    """And none where the forecast alone is right."""
    recipe = small_recipe()
    recipe.needed('forecast').fused = 'tokens'
    manifest = bundle_manifest(recipe)
    networks = random_networks(recipe)
    decode = graph_modules(networks, manifest)['decode']
    window = some_window(recipe.grid, manifest.steps, manifest.feature_size, manifest.token_size)
    window = replace(window, tokens=3.0 * window.tokens)
    with torch.no_grad():
        fused = decode(window.features[:1], window.tokens[None], window.weights[None])[2][0]
    labels = fused.numpy() if came == 'forecast' else np.repeat(
        fused.numpy()[:1], manifest.steps + 1, 0)
    _, shares = fit_confidence(networks, manifest, [[replace(window, labels=labels)]])
    assert len(shares) == manifest.steps
    if came == 'present':
        assert min(shares) >= 0.1
        # Where it is hard to beat decides, however much other places lose.
        easy = replace(window, labels=fused.numpy())
        both = [[easy], [replace(window, labels=labels)]]
        assert fit_confidence(networks, manifest, both)[1] == shares
    else:
        assert max(shares) <= 0.05


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
