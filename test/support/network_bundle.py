# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle exported from real networks of a small size with random weights (needs torch)."""

from pathlib import Path

import numpy as np
import torch

from deltaworld_ros.bundle.export import export_bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.model.networks import Networks, build_networks
from deltaworld_training.bundle_contents import bundle_manifest, network_sizes
from deltaworld_training.classes import LICENCE_TEXT
from deltaworld_training.recipe import Recipe, load_recipe
from deltaworld_training.stages.linear_codes import fit_linear_code


def small_recipe() -> Recipe:
    """Return the default recipe with everything small."""
    recipe = load_recipe('street-cpu')
    recipe.image.width, recipe.image.height = 96, 64
    recipe.data.street_clips, recipe.data.video_clips, recipe.data.clip_frames = 4, 0, 8
    recipe.data.videos = []
    tokenizer, predictor = recipe.tokenizer, recipe.predictor
    tokenizer.feature_size, tokenizer.token_size, tokenizer.code_channels = 32, 48, 8
    tokenizer.size, tokenizer.heads, tokenizer.mlp_size = 64, 1, 64
    tokenizer.encoder_layers, tokenizer.decoder_layers = 1, 1
    tokenizer.batch, tokenizer.steps, tokenizer.warm_up = 4, 6, 2
    predictor.size, predictor.heads, predictor.layers, predictor.mlp_size = 64, 1, 2, 64
    predictor.batch, predictor.steps, predictor.warm_up, predictor.candidates = 4, 6, 2, 8
    recipe.heads.batch, recipe.heads.steps = 8, 200
    recipe.forecast.selection_dimensions = 16
    return recipe


def random_networks(recipe: Recipe, seed: int = 0) -> Networks:
    """Return networks with random weights of a trained model's order of magnitude."""
    torch.manual_seed(seed)
    networks = build_networks(network_sizes(recipe))
    with torch.no_grad():
        networks.backbone.projection.normal_(0.0, 0.1)
        for module in (networks.tokenizer, networks.world):
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
        tokenizer = networks.tokenizer
        maps = torch.randn(200, tokenizer.patches, recipe.tokenizer.feature_size)
        fit_linear_code(tokenizer.delta_code, maps, centred=False)
        fit_linear_code(tokenizer.anchor_code, maps, centred=True)
    return networks


def write_network_bundle(folder: Path) -> Manifest:
    """Export random networks."""
    recipe = small_recipe()
    generator = np.random.default_rng(1)
    frames = generator.integers(
        0, 256, (recipe.forecast.context_length, recipe.image.height, recipe.image.width, 3),
        dtype=np.uint8)
    blur = np.zeros((recipe.forecast.steps, recipe.tokenizer.feature_size, 3, 3), np.float32)
    blur[:, :, 1, 1] = 1.0
    return export_bundle(
        folder, bundle_manifest(recipe), random_networks(recipe), frames,
        recipe.forecast.stride * np.arange(recipe.forecast.context_length),
        {'blur': blur, 'mean_token': np.zeros(recipe.tokenizer.token_size, np.float32)},
        LICENCE_TEXT)
