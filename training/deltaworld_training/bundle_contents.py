# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a recipe makes of a bundle: the sizes of its networks and its manifest."""

import datetime
from typing import Any

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.model.rotary import time_frequencies
from deltaworld_training.classes import (
    BUNDLE_LICENCES,
    CLASSES,
    DEPTH_MAXIMUM,
    DEPTH_MINIMUM,
    SOURCES,
)
from deltaworld_training.recipe import Recipe
from deltaworld_training.stages.predictor import NOISE_STD

LAYER_SCALE = 0.1


def network_sizes(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return the arguments of every network of the recipe."""
    tokenizer, predictor = recipe.tokenizer, recipe.predictor
    feature_size = tokenizer.feature_size
    return {
        'backbone': {'kind': 'efficientnet_lite0', 'feature_size': feature_size},
        'tokenizer': {
            'kind': 'compact', 'feature_size': feature_size, 'grid': list(recipe.grid),
            'token_size': tokenizer.token_size, 'size': tokenizer.size,
            'heads': tokenizer.heads, 'encoder_layers': tokenizer.encoder_layers,
            'decoder_layers': tokenizer.decoder_layers, 'mlp_size': tokenizer.mlp_size,
            'code_channels': tokenizer.code_channels, 'layer_scale': LAYER_SCALE,
        },
        'world': {
            'kind': 'deltaworld', 'size': predictor.size, 'heads': predictor.heads,
            'layers': predictor.layers, 'mlp_size': predictor.mlp_size,
            'token_size': tokenizer.token_size, 'layer_scale': LAYER_SCALE,
        },
        'segmentation': {'kind': 'linear', 'size': feature_size, 'classes': len(CLASSES)},
        'depth': {
            'kind': 'linear', 'size': feature_size, 'minimum': DEPTH_MINIMUM,
            'maximum': DEPTH_MAXIMUM,
        },
    }


def bundle_manifest(recipe: Recipe) -> Manifest:
    """Return the manifest of the recipe's bundle, without the files' hashes."""
    forecast, image = recipe.forecast, recipe.image
    rows, columns = recipe.grid
    return Manifest(
        format=1, name=recipe.name,
        description='Street scenes: 10 classes and metric depth, 0.2 to 0.6 s ahead.',
        created=datetime.date.today().isoformat(), backbone='efficientnet_lite0',
        image_width=image.width, image_height=image.height, feature_rows=rows,
        feature_columns=columns, feature_size=recipe.tokenizer.feature_size,
        token_size=recipe.tokenizer.token_size, noise_size=recipe.predictor.size,
        noise_std=NOISE_STD, queries='kept', rotary_frequencies=time_frequencies().tolist(),
        stride=forecast.stride, steps=forecast.steps, context_length=forecast.context_length,
        map_width=image.width // 2, map_height=image.height // 2, depth_minimum=DEPTH_MINIMUM,
        depth_maximum=DEPTH_MAXIMUM, focal_length=image.focal_length,
        num_samples=forecast.samples, num_futures=forecast.futures,
        selection_dimensions=forecast.selection_dimensions, classes=CLASSES,
        licences=BUNDLE_LICENCES, sources=SOURCES,
        training_data=[
            f'{recipe.data.street_clips} clips of the synthetic street world',
            *(f'{name} (Udacity CarND-LaneLines)' for name in recipe.data.videos)],
    )
