# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a recipe makes of a bundle: the sizes of its networks and its manifest."""

import datetime
from collections.abc import Sequence
from typing import Any

from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.model.networks import build_networks
from deltaworld_ros.model.protocols import takes_motion
from deltaworld_ros.model.rotary import time_frequencies
from deltaworld_training.runs import provenance
from deltaworld_training.runs.recipe import Recipe
from deltaworld_training.stages.predictor import NOISE_STD

# The part that each stage trains, and where its settings give the sizes.
PARTS = {
    'tokenizer': ('tokenizer',), 'joint': ('tokenizer', 'world'), 'predictor': ('world',),
    'heads': ('segmentation', 'depth')}


def network_sizes(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return the arguments of every network of the recipe."""
    sizes = {'backbone': recipe.needed('backbone')}
    for name in recipe.stages:
        settings = recipe.settings(name)
        sizes |= {part: settings.model[part] for part in PARTS[settings.stage]}
    return sizes


def bundle_manifest(
    recipe: Recipe, temperatures: Sequence[float] = (), weight_temperature: float = 1.0,
    present_shares: Sequence[float] = (),
) -> Manifest:
    """Return the manifest of the recipe's bundle, without the files' hashes."""
    forecast, image = recipe.needed('forecast'), recipe.needed('image')
    data, sizes = recipe.needed('data'), network_sizes(recipe)
    predictors = recipe.names('predictor')
    # The joint stage keeps queries where nothing else is asked for.
    stages = predictors or recipe.names('joint')
    queries: Any = 'fresh' if predictors else 'kept'
    if stages:
        queries = recipe.settings(stages[-1]).model.get('queries', queries)
    before = None if recipe.start is None else load_bundle(recipe.start).manifest
    networks = build_networks(sizes)
    backbone, depth = networks.backbone, networks.depth
    origin = (backbone, data, before)
    rows, columns = recipe.grid
    return Manifest(
        format=1, name=recipe.name,
        description='Street scenes: 10 classes and metric depth, 0.2 to 0.6 s ahead.',
        created=datetime.date.today().isoformat(), backbone=backbone.model_name,
        image_width=image.width, image_height=image.height, feature_rows=rows,
        feature_columns=columns, feature_size=backbone.feature_size,
        token_size=networks.tokenizer.token_size, noise_size=networks.world.noise_size,
        noise_std=NOISE_STD, queries=queries,
        rotary_frequencies=time_frequencies(networks.world.frequencies).tolist(),
        stride=forecast.stride, steps=forecast.steps, context_length=forecast.context_length,
        map_width=image.width // 2, map_height=image.height // 2, depth_minimum=depth.minimum,
        depth_maximum=depth.maximum, focal_length=image.focal_length,
        num_samples=forecast.samples, num_futures=forecast.futures,
        selection_dimensions=forecast.selection_dimensions, fused=forecast.fused,
        motion=takes_motion(networks.world),
        temperatures=list(temperatures) or [1.0] * (forecast.steps + 1),
        present_shares=list(present_shares), weight_temperature=weight_temperature, classes=STREET,
        licences=provenance.licences(*origin), sources=provenance.sources(*origin),
        training_data=provenance.training_data(data, before),
    )
