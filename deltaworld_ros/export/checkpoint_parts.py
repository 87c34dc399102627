# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Build a network from a checkpoint: sizes from shapes, every tensor accounted for."""

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoints import Checkpoint, check_finite, listed
from deltaworld_ros.model.networks import build_part
from deltaworld_ros.model.painter import HEADS

Sizes = dict[str, Any]
# DINOv3's heads, which the tokenizer and the predictor share.
HEAD_SIZE = 64
# Building a network costs time for each layer, even before it has memory.
MAX_LAYERS = 256
MAX_SIZE = 1 << 20
# A tensor whose name says what a file holds.
_MARKS = {
    'embeddings.cls_token': 'backbone', 'z_embed.weight': 'tokenizer',
    'predictor.head.weight': 'predictor', 'head.weight': 'head',
    'decoder_embed.weight': 'painter',
}


def load_part(checkpoint: Checkpoint, **chosen: Any) -> tuple[nn.Module, Sizes]:
    """
    Build the network of a checkpoint in float32 and evaluation mode; return it and its sizes.

    `chosen` are sizes that no tensor tells: the grid, and of which kind the tokens are. Raise
    `UserError` that names what is unknown, missing, wrong in shape, NaN or infinite.
    """
    sizes = dict(checkpoint.sizes or INFERENCE[checkpoint.part](checkpoint)) | chosen
    tensors = dict(checkpoint.tensors)
    if sizes.get('kind') == 'delta':
        # The black frame's features belong to a backbone and a grid; see `fit_to_size`.
        tensors.pop('black', None)
    _check_sizes(checkpoint, sizes)
    try:
        with torch.device('meta'):
            expected = {name: tuple(value.shape)
                        for name, value in build_part(checkpoint.part, sizes).state_dict().items()}
    except UserError as error:
        raise UserError(f'{checkpoint.path}: {error}') from None
    # Sizes come from the file: whatever they do to the constructor is the file's mistake.
    except Exception as error:
        raise UserError(f'{checkpoint.path}: its sizes build no {checkpoint.part}: '
                        f'{" ".join(str(error).split())[:200]}') from None
    if sizes.get('kind') == 'delta':
        expected.pop('black')
    _check_names(checkpoint, {n: tuple(t.shape) for n, t in tensors.items()}, expected)
    state = {name: tensor if tensor.dtype is torch.int64 else tensor.float()
             for name, tensor in tensors.items()}
    check_finite(checkpoint.path, state.items())
    negative = [name for name, value in state.items()
                if name.endswith('running_var') and bool((value < 0).any())]
    if negative:
        raise UserError(f'{checkpoint.path}: negative variance: {listed(negative)}')
    module = build_part(checkpoint.part, sizes)
    module.load_state_dict(state, strict=sizes.get('kind') != 'delta')
    return module, sizes


def _check_sizes(checkpoint: Checkpoint, sizes: Sizes) -> None:
    for name, value in sizes.items():
        for number in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(number, (int, float)):
                continue
            limit = MAX_LAYERS if 'layers' in name else MAX_SIZE
            if not 0 <= number <= limit:
                raise UserError(f'{checkpoint.path}: {name} {number} must be at most {limit}')


def _check_names(
    checkpoint: Checkpoint, found: dict[str, tuple[int, ...]],
    expected: dict[str, tuple[int, ...]],
) -> None:
    problems = []
    if unknown := found.keys() - expected.keys():
        problems.append(f'unknown: {listed(unknown)}')
    if missing := expected.keys() - found.keys():
        problems.append(f'missing: {listed(missing)}')
    wrong = [f'{name} {list(found[name])} must be {list(expected[name])}'
             for name in found.keys() & expected.keys() if found[name] != expected[name]]
    if wrong:
        problems.append(f'wrong shape: {listed(wrong)}')
    if problems:
        raise UserError(
            f'{checkpoint.path}: not the {checkpoint.part}\'s weights: {"; ".join(problems)}')


def _shape(checkpoint: Checkpoint, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in checkpoint.tensors:
        held = next((part for mark, part in _MARKS.items() if mark in checkpoint.tensors), None)
        hint = f'; it looks like a {held}' if held and held != checkpoint.part else ''
        raise UserError(f"{checkpoint.path}: not the {checkpoint.part}'s weights: "
                        f'missing: {name}{hint}')
    shape = tuple(checkpoint.tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise UserError(f'{checkpoint.path}: {name} {list(shape)} must have {dimensions} '
                        'dimensions, none of them 0')
    return shape


def _layers(checkpoint: Checkpoint, blocks: str) -> int:
    # A gap in the numbers shows up as missing and unknown names.
    pattern = re.compile(rf'{re.escape(blocks)}\.(\d{{1,4}})\.')
    return len({match[1] for name in checkpoint.tensors if (match := pattern.match(name))})


def _heads(checkpoint: Checkpoint, size: int) -> int:
    if size % HEAD_SIZE:
        raise UserError(f'{checkpoint.path}: width {size} must be a multiple of {HEAD_SIZE}')
    return size // HEAD_SIZE


def _backbone(checkpoint: Checkpoint) -> Sizes:
    if 'blocks.0.attn.qkv.weight' in checkpoint.tensors:
        raise UserError(f"{checkpoint.path}: has the names of torch.hub's files; take the Hugging "
                        'Face file, such as model.safetensors of '
                        'facebook/dinov3-vitb16-pretrain-lvd1689m')
    size = _shape(checkpoint, 'embeddings.cls_token', 3)[2]
    if 'layer.0.mlp.gate_proj.weight' in checkpoint.tensors:
        raise UserError(f'{checkpoint.path}: a DINOv3 with gated MLPs (S+, H+, 7B); supported are '
                        'ViT-S/16, ViT-B/16 and ViT-L/16')
    return {
        'kind': 'dinov3', 'size': size, 'heads': _heads(checkpoint, size),
        'layers': _layers(checkpoint, 'layer'),
        'mlp_size': _shape(checkpoint, 'layer.0.mlp.up_proj.weight', 2)[0],
        'registers': _shape(checkpoint, 'embeddings.register_tokens', 3)[1],
    }


def _tokenizer(checkpoint: Checkpoint) -> Sizes:
    if 'anchor_code.basis' in checkpoint.tensors:
        raise UserError(f'{checkpoint.path}: a compact tokenizer without its sizes, which the '
                        '.safetensors file of its stage holds')
    size = _shape(checkpoint, 'z_embed.weight', 2)[1]
    first = 'encoder_blocks.0.'
    return {
        'kind': 'delta', 'size': size, 'heads': _heads(checkpoint, size),
        'layers': _layers(checkpoint, 'encoder_blocks'),
        'mlp_size': _shape(checkpoint, f'{first}mlp.up_proj.weight', 2)[0],
        'gated': f'{first}mlp.gate_proj.weight' in checkpoint.tensors,
    }


def _world(checkpoint: Checkpoint) -> Sizes:
    token_size, size = _shape(checkpoint, 'predictor.head.weight', 2)
    return {
        'kind': 'deltaworld', 'size': size, 'heads': _heads(checkpoint, size),
        'layers': _layers(checkpoint, 'predictor.blocks'),
        'mlp_size': _shape(checkpoint, 'predictor.blocks.0.mlp.up_proj.weight', 2)[0],
        'token_size': token_size, 'learned_query': 'q_embed.weight' in checkpoint.tensors,
    }


def patch_world_sizes(checkpoint: Checkpoint) -> Sizes:
    """Return the sizes of DINO-world, whose file looks like that of a predictor over tokens."""
    sizes = dict(checkpoint.sizes or _world(checkpoint))
    if 'token_size' in sizes:
        sizes['feature_size'] = sizes.pop('token_size')
    return {**sizes, 'kind': 'patches'}


def _segmentation(checkpoint: Checkpoint) -> Sizes:
    classes, size, *_ = _shape(checkpoint, 'head.weight', 4)
    return {'kind': 'linear', 'size': size, 'classes': classes}


def _depth(checkpoint: Checkpoint) -> Sizes:
    bins, size, *_ = _shape(checkpoint, 'head.weight', 4)
    return {'kind': 'linear', 'size': size, 'bins': bins}


def _painter(checkpoint: Checkpoint) -> Sizes:
    size, feature_size = _shape(checkpoint, 'decoder_embed.weight', 2)
    patches = _shape(checkpoint, 'decoder_pos_embed', 3)[1] - 1
    side = math.isqrt(max(patches, 0))
    if size % HEADS or side ** 2 != patches or not patches:
        raise UserError(f'{checkpoint.path}: width {size} must be a multiple of {HEADS}, and '
                        f'{patches} positions those of a square grid')
    return {
        'kind': 'vit', 'feature_size': feature_size, 'size': size,
        'layers': _layers(checkpoint, 'decoder_layers'), 'grid': [side, side],
        'mlp_size': _shape(checkpoint, 'decoder_layers.0.intermediate.dense.weight', 2)[0],
    }


INFERENCE: dict[str, Callable[[Checkpoint], Sizes]] = {
    'backbone': _backbone, 'tokenizer': _tokenizer, 'world': _world,
    'segmentation': _segmentation, 'depth': _depth, 'painter': _painter,
}
