# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read released or trained checkpoints as the networks of one bundle (needs torch)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from deltaworld_ros.bundle.class_lists import class_list
from deltaworld_ros.bundle.manifest import sha256_of
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import Sizes, load_part, patch_world_sizes
from deltaworld_ros.export.checkpoints import WEIGHT_FILES, Checkpoint, listed, read_checkpoint
from deltaworld_ros.export.hub import find_checkpoint, name_with_commit
from deltaworld_ros.export.painter import load_painter
from deltaworld_ros.export.token_kind import Tokens, token_kind
from deltaworld_ros.model.networks import Networks, build_part
from deltaworld_ros.model.painter import Painter
from deltaworld_ros.model.protocols import Regridded
from deltaworld_ros.model.registry import network_class

# Height and width in pixels, as the tokenizer's second stage of training.
DEFAULT_SIZE = (512, 512)


@dataclass(frozen=True)
class Head:
    """A segmentation head with the classes that it tells apart."""

    module: nn.Module
    sizes: Sizes
    classes: list[SemanticClass]


@dataclass(frozen=True)
class Converted:
    """
    The networks, what a token is, all segmentation heads by name, where each part is from.

    `assumed` is what the files do not tell.

    The painter, which makes pictures of features, is optional.
    """

    networks: Networks
    tokens: Tokens
    heads: dict[str, Head]
    sources: list[str]
    assumed: list[str]
    painter: Painter | None = None


def read_networks(
    files: Mapping[str, str], heads: Mapping[str, str], classes: Mapping[str, str],
    size: tuple[int, int] | None = None, tokens: Tokens | None = None,
) -> Converted:
    """
    Read every part: `files` has the source of backbone, tokenizer, world, depth and painter.

    DINO-world has no tokenizer, and the painter is optional. `heads` has the source of each
    segmentation head, of which the first is exported, and `classes` its class list where the
    number of classes does not tell it. `size` is the height and width of images, None for the
    tokenizer's own, or 512 x 512. `tokens`
    says what the tokens are where no file tells. Raise `UserError` for what cannot be read, told
    or fitted together.
    """
    found_files = {part: _find(source, part) for part, source in files.items()}
    sources = [_origin(files[part], checkpoint) for part, checkpoint in found_files.items()]
    painting = found_files.pop('painter', None)
    tokens, assumed = token_kind(found_files, tokens)
    backbone = found_files['backbone'].sizes or {'kind': 'dinov3'}
    grid = _grid(*(size or DEFAULT_SIZE), network_class('backbone', backbone.get('kind')).stride)
    parts: dict[str, Any] = {}
    sizes: dict[str, Sizes] = {}
    for part in list(found_files):
        # Not all files and networks at once: those of ViT-B would be 3 GB.
        checkpoint = found_files.pop(part)
        chosen: Sizes = {}
        if part == 'tokenizer' and (checkpoint.sizes or {'kind': 'delta'}).get('kind') == 'delta':
            chosen = {'grid': grid, 'frame_tokens': tokens == 'frame'}
        elif part == 'world' and tokens == 'patch':
            chosen = {'grid': grid}
            checkpoint = replace(checkpoint, sizes=patch_world_sizes(checkpoint))
        parts[part], sizes[part] = load_part(checkpoint, **chosen)
    if tokens == 'patch':
        sizes['tokenizer'] = {
            'kind': 'patches', 'grid': grid,
            'size': parts['world'].feature_size}
        parts['tokenizer'] = build_part('tokenizer', sizes['tokenizer'])
    if parts['world'].learned_query:
        assumed.append('The predictor has one learned query: it forecasts a single future')
    found = {}
    for name, source in heads.items():
        checkpoint = _find(source, 'segmentation')
        sources.append(_origin(source, checkpoint))
        module, head_sizes = load_part(checkpoint)
        found[name] = Head(module, head_sizes, class_list(
            classes.get(name), head_sizes['classes'], str(checkpoint.path)))
    first = next(iter(found.values()))
    parts['segmentation'], sizes['segmentation'] = first.module, first.sizes
    networks = Networks(sizes, **parts)
    _check_widths(networks, found, tokens)
    fit_to_size(networks, *(size or own_size(networks)))
    painter = None
    if painting is not None:
        painter, left_out = load_painter(painting, networks)
        if left_out:
            assumed.append(f'Left out of the painter, as the release does: {listed(left_out)}')
    return Converted(networks, tokens, found, sources, assumed, painter)


def own_size(networks: Networks) -> tuple[int, int]:
    """Return the height and width in pixels of the grid that the tokenizer was built for."""
    rows, columns = networks.sizes['tokenizer']['grid']
    stride = networks.backbone.stride
    return stride * rows, stride * columns


def fit_to_size(networks: Networks, height: int, width: int) -> None:
    """
    Set the tokenizer's grid and the black frame's features to images of this size in pixels.

    Raise `UserError` where the tokenizer is bound to another grid.
    """
    grid = _grid(height, width, networks.backbone.stride)
    if isinstance(networks.tokenizer, Regridded):
        with torch.no_grad():
            black = networks.backbone(torch.zeros(1, 3, height, width, dtype=torch.uint8))
        for name, part in networks.parts().items():
            if isinstance(part, Regridded):
                part.set_grid(grid, black)
                networks.sizes[name]['grid'] = list(grid)
    elif own_size(networks) != (height, width):
        own = own_size(networks)
        raise UserError(f'size {width}x{height}: this tokenizer was trained for {own[1]}x{own[0]}')


def _find(source: str, part: str) -> Checkpoint:
    return read_checkpoint(find_checkpoint(source, WEIGHT_FILES), part)


def _origin(source: str, checkpoint: Checkpoint) -> str:
    # A path of this machine says nothing elsewhere; the hash does.
    name = name_with_commit(source, checkpoint.path)
    return f'{checkpoint.part}: {name}, sha256 {sha256_of(checkpoint.path)}'


def _grid(height: int, width: int, stride: int) -> tuple[int, int]:
    if not all(stride <= side <= 8192 and side % stride == 0 for side in (height, width)):
        raise UserError(f'size {width}x{height}: both sides must be multiples of {stride} pixels')
    return height // stride, width // stride


def _check_widths(networks: Networks, heads: Mapping[str, Head], tokens: Tokens) -> None:
    """Refuse parts of different models."""
    width, tokenizer = networks.backbone.feature_size, networks.tokenizer
    read = {
        # Without a tokenizer's file the predictor's says what it takes.
        'the predictor' if tokens == 'patch' else 'the tokenizer': tokenizer.feature_size,
        'the depth head': networks.depth.head.in_channels,
        **{f'the segmentation head {name!r}': head.sizes['size'] for name, head in heads.items()},
    }
    wrong = [f'{name} is for {value}' for name, value in read.items() if value != width]
    if wrong:
        raise UserError(f'features have the width {width}: {", ".join(wrong)}')
    if networks.world.token_size != tokenizer.token_size:
        raise UserError(f'tokens have the width {tokenizer.token_size}: the predictor is for '
                        f'{networks.world.token_size}')
