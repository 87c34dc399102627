# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The painter of a bundle: the release's RGB head, read, fitted and kept (needs torch)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

from safetensors.torch import save_file

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import load_part
from deltaworld_ros.export.checkpoints import Checkpoint, read_checkpoint
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.painter import PaintBlock, Painter

PAINTER_NAME = 'painter.safetensors'
# With what the names of the decoder's tensors begin.
NAMES = ('decoder_', 'trainable_cls_token')


def load_painter(checkpoint: Checkpoint, networks: Networks) -> tuple[Painter, list[str]]:
    """
    Build the painter of a checkpoint for the features of networks.

    Return it and the names of tensors that it has no use for, which the release leaves out too.
    Raise `UserError` where a tensor is missing or wrong, or the features are another backbone's.
    """
    used = {name: tensor for name, tensor in checkpoint.tensors.items()
            if name.startswith(NAMES)}
    left_out = sorted(checkpoint.tensors.keys() - used.keys())
    painter = cast(Painter, load_part(replace(checkpoint, tensors=used))[0])
    backbone = networks.backbone
    norm = None
    if not painter.after_norm:
        if not isinstance(backbone, DinoV3):
            raise UserError(f'{checkpoint.path}: the RGB head needs a DINOv3 backbone')
        norm = backbone.norm
    if painter.feature_size != backbone.feature_size:
        raise UserError(f'features have the width {backbone.feature_size}: the RGB head is for '
                        f'{painter.feature_size}')
    rows, columns = networks.sizes['tokenizer']['grid']
    painter.fit(norm, (rows, columns))
    return painter, left_out


def save_painter(painter: Painter, path: Path) -> None:
    """Write the weights, with the sizes in the file's metadata."""
    first = cast(PaintBlock, painter.decoder_layers[0])
    size, feature_size = painter.decoder_embed.weight.shape
    sizes = {
        'kind': 'vit', 'feature_size': feature_size, 'size': size,
        'layers': len(painter.decoder_layers), 'heads': first.attention.heads,
        'mlp_size': first.intermediate['dense'].out_features,
        'grid': list(painter.own_grid), 'after_norm': painter.after_norm}
    save_file({f'painter.{name}': value.contiguous()
               for name, value in painter.state_dict().items()}, path,
              metadata={'sizes': json.dumps({'painter': sizes})})


def read_painter(path: Path, networks: Networks) -> Painter:
    """Read what `save_painter` wrote, for the features and the grid of networks."""
    return load_painter(read_checkpoint(path, 'painter'), networks)[0]
