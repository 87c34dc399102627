# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of the paper's networks, with heavy-tailed activations; at ViT-B's width by default."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.export.convert import fit_to_size
from deltaworld_ros.export.precision import Precision
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, build_networks
from deltaworld_ros.model.rotary import time_frequencies
from support.once import once

SIZE, HEADS = 768, 12
GRID = (4, 6)
STEPS = 2
CLASSES = 6
# Of the 768 channels of trained vision transformers, a few are far larger than all others.
LARGE_CHANNELS, LARGE = 4, 100.0


@functools.cache
def vit_networks(
    layers: int = 1, size: int = SIZE, heads: int = HEADS, grid: tuple[int, int] = GRID,
) -> Networks:
    """Return random networks of depth `layers` whose head tells the colours of blocks apart."""
    generator = torch.Generator().manual_seed(0)
    width = {'size': size, 'heads': heads, 'layers': layers}
    networks = build_networks({
        'backbone': {'kind': 'dinov3', 'mlp_size': 4 * size, **width},
        'tokenizer': {'kind': 'delta', 'grid': list(grid), 'mlp_size': 8 * size // 3, **width},
        'world': {'kind': 'deltaworld', 'mlp_size': 4 * size, **width},
        'segmentation': {'kind': 'linear', 'size': size, 'classes': CLASSES},
        'depth': {'kind': 'linear', 'size': size}})
    with torch.no_grad():
        for part in networks.parts().values():
            for name, parameter in part.named_parameters():
                if 'lambda1' in name:
                    parameter.uniform_(0.1, 0.5, generator=generator)
                    parameter[:LARGE_CHANNELS] *= LARGE
                elif parameter.ndim > 1:
                    parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
                elif 'norm' in name and name.endswith('weight'):
                    parameter.uniform_(0.5, 1.5, generator=generator)
                else:
                    parameter.normal_(0.0, 0.1, generator=generator)
        fit_to_size(networks, 16 * grid[0], 16 * grid[1])
        _fit_head(networks)
    return networks


def _fit_head(networks: Networks) -> None:
    """Fit the classes by least squares, for a head whose logits differ as a trained one's do."""
    frames, colors = colored_frames(8, networks.sizes['tokenizer']['grid'])
    features = networks.backbone(torch.from_numpy(frames).permute(0, 3, 1, 2)).flatten(0, 1)
    targets = torch.eye(CLASSES)[torch.from_numpy(colors).flatten()]
    inputs = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    solution = torch.linalg.lstsq(
        inputs.double().T @ inputs.double() + torch.eye(inputs.shape[1]),
        inputs.double().T @ targets.double()).solution.float()
    networks.segmentation.head.weight.copy_(solution[:-1].T[:, :, None, None])
    networks.segmentation.head.bias.copy_(solution[-1])


def colored_frames(
    count: int, grid: Sequence[int] = GRID,
) -> tuple[np.ndarray, np.ndarray]:
    """Return frames (T, h, w, 3) of noisy coloured patches and the patches' colours (T, N)."""
    generator = np.random.default_rng(0)
    palette = generator.integers(40, 216, (CLASSES, 3))
    colors = generator.integers(0, CLASSES, (count, *grid))
    frames = palette[colors.repeat(16, 1).repeat(16, 2)]
    frames = frames + generator.integers(-20, 21, frames.shape)
    return frames.astype(np.uint8), colors.reshape(count, -1)


def vit_manifest(networks: Networks, steps: int = STEPS) -> Manifest:
    """Describe the networks."""
    size = networks.sizes['backbone']['size']
    rows, columns = networks.sizes['tokenizer']['grid']
    classes = [SemanticClass(name=f'colour {index}', color=(index, 0, 0), role='static')
               for index in range(CLASSES)]
    return Manifest(
        format=1, name='vit', description='Random networks.',
        created='2026-01-01', backbone='dinov3', image_width=16 * columns,
        image_height=16 * rows, feature_rows=rows, feature_columns=columns, feature_size=size,
        token_size=size, noise_size=size, queries='fresh',
        rotary_frequencies=time_frequencies().tolist(), stride=0.2, steps=steps,
        context_length=4, map_width=8 * columns, map_height=8 * rows, depth_minimum=1e-3,
        depth_maximum=80.0, focal_length=100.0, selection_dimensions=32, classes=classes,
        licences=[], sources=[], training_data=[])


@functools.cache
def vit_bundle(precision: Precision, layers: int = 1, steps: int = STEPS) -> Bundle:
    """Export the networks once a test run."""
    return load_bundle(once(
        f'vit-{precision}-{layers}-{steps}',
        lambda folder: export_vit_bundle(folder, vit_networks(layers), precision, steps)))


def export_vit_bundle(
    folder: Path, networks: Networks, precision: Precision = 'fp32', steps: int = STEPS,
) -> Bundle:
    """Export networks with golden frames of coloured patches."""
    manifest = vit_manifest(networks, steps)
    frames, _ = colored_frames(
        manifest.context_length, (manifest.feature_rows, manifest.feature_columns))
    export_bundle(
        folder, manifest, networks, frames, 0.2 * np.arange(len(frames)), None, 'none',
        half_weights=False, precision=precision)
    return load_bundle(folder)
