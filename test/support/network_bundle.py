# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle exported from real networks of a small size with random weights (needs torch)."""

from pathlib import Path

import numpy as np
import torch

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, build_networks
from deltaworld_training.runs.bundle_manifest import bundle_manifest, network_sizes
from deltaworld_training.runs.provenance import licence_text
from deltaworld_training.runs.recipe import Recipe, load_recipe
from support.once import once


def small_recipe(name: str = 'street-cpu') -> Recipe:
    """Return a recipe, the default one unless named, with everything small."""
    recipe = load_recipe(name)
    image, data = recipe.needed('image'), recipe.needed('data')
    image.width, image.height = 96, 64
    data.street_clips, data.video_clips, data.clip_frames, data.videos = 4, 0, 8, []
    data.junction_clips = 2
    data.head_worlds, data.head_frames = 1, 0
    data.calibration_clips, data.calibration_videos = 1, []
    recipe.backbone['feature_size'] = 32
    stages = recipe.stages
    for name in ('tokenizer', 'joint'):
        stages[name].model['tokenizer'] |= {
            'feature_size': 32, 'grid': [4, 6], 'token_size': 48, 'size': 64,
            'heads': 1, 'mlp_size': 64, 'encoder_layers': 1, 'decoder_layers': 1}
    for name in ('predictor', 'joint'):
        stages[name].model['world'] |= {
            'size': 64, 'heads': 1, 'layers': 2, 'mlp_size': 64, 'token_size': 48}
    heads = stages['heads']
    heads.model |= {'grid': [4, 6]}
    for head in ('segmentation', 'depth'):
        heads.model[head] |= {'size': 32, 'hidden': 24}
    stages['predictor'].model['candidates'] = stages['joint'].model['samples'] = 4
    for name, batch, steps in (
            ('heads', 8, 200), ('tokenizer', 4, 4), ('predictor', 4, 4), ('joint', 4, 6),
            ('samples', 4, 2)):
        stage = stages[name]
        stage.data.setdefault('init_args', {}).update(
            batch=batch, folders=['{run}/street'], weights=None)
        stage.trainer['max_steps'] = steps
        stage.trainer['precision'] = '32-true'
        stage.model['warm_up'] = 2
    heads.data['init_args']['folders'].append('{run}/street_looks')
    recipe.needed('forecast').selection_dimensions = 16
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
    return networks


def trained_like(tokenizer: dict | None = None, recipe: Recipe | None = None) -> Networks:
    """Return networks of which no two tensors are equal, as after training."""
    recipe = recipe or small_recipe()
    if tokenizer is not None:
        recipe.stages['joint'].model['tokenizer'] = tokenizer
    networks = random_networks(recipe)
    generator = torch.Generator().manual_seed(5)
    for module in networks.parts().values():
        for value in module.state_dict().values():
            if value.is_floating_point() and value.ndim == 1:
                value += 0.05 * torch.rand(value.shape, generator=generator)
    return networks


def network_bundle() -> Path:
    """Return the folder of the bundle of `trained_like` networks, exported once a test run."""
    return once('networks', write_network_bundle)


def motion_bundle() -> Path:
    """Return that of networks whose predictor can be told the robot's motion."""
    return once('motion networks', lambda folder: write_network_bundle(
        folder, recipe=small_recipe('street-motion')))


def write_network_bundle(
    folder: Path, networks: Networks | None = None, recipe: Recipe | None = None,
) -> Manifest:
    """Export networks of a small recipe, `trained_like` ones unless given."""
    recipe = recipe or small_recipe()
    image, forecast, sizes = recipe.image, recipe.forecast, network_sizes(recipe)
    generator = np.random.default_rng(1)
    frames = generator.integers(
        0, 256, (forecast.context_length, image.height, image.width, 3), dtype=np.uint8)
    blur = np.zeros((forecast.steps, sizes['backbone']['feature_size'], 3, 3), np.float32)
    blur[:, :, 1, 1] = 1.0
    # As in what training exports, where the present's share is fitted.
    shares = np.linspace(0.2, 0.3, forecast.steps).tolist() if forecast.fused == 'tokens' else []
    manifest = bundle_manifest(recipe, present_shares=shares)
    return export_bundle(
        folder, manifest, networks or trained_like(recipe=recipe), frames,
        forecast.stride * np.arange(forecast.context_length),
        {'blur': blur, 'mean_token': np.zeros(sizes['world']['token_size'], np.float32)},
        licence_text(manifest, 'noise'))
