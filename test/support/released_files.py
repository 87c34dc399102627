# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files in the exact layout of the released checkpoints, with made-up values."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.spatial_world import SpatialWorld
from support.parameter_values import SCALES, SHIFTS, fill


def random_tensor(name: str, shape: list[int], generator: torch.Generator) -> Tensor:
    """Draw a parameter of a trained network's order of magnitude; layer scales are about one."""
    *_, owner, leaf = ['', *name.split('.')]
    if leaf == 'num_batches_tracked':
        return torch.tensor(7)
    noise = torch.randn(shape, generator=generator)
    if leaf in SCALES or (leaf == 'weight' and ('norm' in owner or owner == 'bn')):
        return (1 + 0.1 * noise).abs()
    if leaf in SHIFTS:
        return 0.1 * noise
    return noise / max(1, noise[0].numel() if noise.ndim > 2 else shape[-1]) ** 0.5


def random_tensors(shapes: dict[str, list[int]], seed: int) -> dict[str, Tensor]:
    """Draw every parameter of a checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    return {name: random_tensor(name, shape, generator) for name, shape in shapes.items()}


def painter_shapes(
        features: int = 64, size: int = 64, layers: int = 2, mlp: int = 96, patches: int = 16,
) -> dict[str, list[int]]:
    """Return every name and shape of the released RGB head, of other sizes."""
    shapes = {
        'decoder_embed.weight': [size, features], 'decoder_embed.bias': [size],
        'trainable_cls_token': [1, 1, size], 'decoder_pos_embed': [1, 1 + patches, size],
        'decoder_norm.weight': [size], 'decoder_norm.bias': [size],
        'decoder_pred.weight': [16 * 16 * 3, size], 'decoder_pred.bias': [16 * 16 * 3]}
    for layer in range(layers):
        block = f'decoder_layers.{layer}.'
        for name in ('query', 'key', 'value'):
            shapes[f'{block}attention.attention.{name}.weight'] = [size, size]
            shapes[f'{block}attention.attention.{name}.bias'] = [size]
        for name, (out, into) in {'attention.output': (size, size), 'intermediate': (mlp, size),
                                  'output': (size, mlp)}.items():
            shapes[f'{block}{name}.dense.weight'] = [out, into]
            shapes[f'{block}{name}.dense.bias'] = [out]
        for name in ('layernorm_before', 'layernorm_after'):
            shapes[f'{block}{name}.weight'] = shapes[f'{block}{name}.bias'] = [size]
    return shapes


def write_tiny_release(folder: Path, layers: int = 2) -> dict[str, Path]:
    """Write the networks behind the golden tensors test/data/tiny.npz, as released."""
    folder.mkdir(parents=True, exist_ok=True)
    dino = folder / 'dinov3'
    dino.mkdir()
    backbone = fill(DinoV3(192, 3, layers, 768), 'backbone')
    save_file(backbone.state_dict(), dino / 'model.safetensors')

    def save(name: str, prefix: str, module: torch.nn.Module, wrapped: bool = False) -> Path:
        state = {prefix + key: value for key, value in module.state_dict().items()}
        path = folder / f'{name}.bin'
        torch.save({'state_dict': state} if wrapped else state, path)
        return path

    rgb = folder / 'rgb-head-imagenet.bin'
    torch.save(random_tensors(painter_shapes(192, layers=1), 3), rgb)
    return {
        'backbone': dino,
        'tokenizer': save('deltatok', 'network.', fill(DeltaTok(192, 3, layers, 512), 'deltatok')),
        'predictor': save('deltaworld', 'network._orig_mod.', fill(
            DeltaWorld(192, 3, layers, 768), 'deltaworld'), wrapped=True),
        'frame-tokenizer': save(
            'frametok', '', fill(DeltaTok(192, 3, layers, 512, frame_tokens=True), 'frametok')),
        'discriminative': save('discriminative', 'network.', fill(
            DeltaWorld(192, 3, layers, 768, learned_query=True), 'discriminative'), wrapped=True),
        'dino-world': save('dinoworld', 'network.', fill(
            SpatialWorld(192, 3, layers, 768), 'dinoworld'), wrapped=True),
        'dino-world-bom': save('dinoworld-bom', '', fill(
            SpatialWorld(192, 3, layers, 768, learned_query=False), 'dinoworld-bom')),
        'cityscapes': save('seg-head-cityscapes', '', fill(SegmentationHead(192, 19), 'seg_head')),
        'vspw': save('seg-head-vspw', 'network.', fill(SegmentationHead(192, 124), 'seg_head')),
        'depth': save('depth-head-kitti', 'network.', fill(DepthHead(192), 'depth_head')),
        'rgb': rgb,
    }
