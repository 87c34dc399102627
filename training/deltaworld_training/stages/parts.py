# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of trained parts: weights, the sizes they were built with, and the recipe."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import INFERENCE
from deltaworld_ros.export.checkpoints import read_checkpoint
from deltaworld_ros.model.networks import build_part

Sizes = dict[str, Any]


def save_parts(
    path: Path, state: dict[str, Tensor], sizes: dict[str, Sizes], recipe: dict[str, Any],
) -> None:
    """
    Write tensors named `part.parameter`; sizes and recipe go into the metadata as JSON.

    The file appears whole or not at all: its presence says that a stage is done.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
    save_file(tensors, partial, metadata={
        'sizes': json.dumps(sizes), 'recipe': json.dumps(recipe, default=str)})
    partial.replace(path)


def read_recipe(path: Path) -> dict[str, Any]:
    """Return what a file says of how it was made; raises `UserError` for a torn file."""
    try:
        with safe_open(path, 'pt') as file:
            recipe: dict[str, Any] = json.loads((file.metadata() or {}).get('recipe', '{}'))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f'{path}: not a readable safetensors file: {error}; delete it to make '
                        'it anew') from None
    return recipe


def read_part(path: Path, part: str) -> tuple[Sizes, dict[str, Tensor]]:
    """
    Read one part's sizes and weights from a stage's file or from networks.safetensors.

    The released file of the DINOv3 backbone (model.safetensors) is read too. Raises
    `UserError` for a file that has no such part.
    """
    try:
        with safe_open(path, 'pt') as file:
            sizes = json.loads((file.metadata() or {}).get('sizes', '{}'))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f'{path}: not a readable safetensors file: {error}') from None
    if part == 'backbone' and not sizes:
        released = read_checkpoint(path, part)
        return INFERENCE[part](released), released.tensors
    if part not in sizes:
        raise UserError(f'{path}: holds no {part}; it holds: {", ".join(sizes) or "no parts"}')
    prefix = f'{part}.'
    return sizes[part], {
        name.removeprefix(prefix): value for name, value in tensors.items()
        if name.startswith(prefix)}


def holds(path: Path, part: str) -> bool:
    """Say whether a stage's file has a part."""
    with safe_open(path, 'pt') as file:
        return part in json.loads((file.metadata() or {}).get('sizes', '{}'))


def load_part(path: Path, part: str) -> tuple[nn.Module, Sizes]:
    """Build one part from its file; raises `UserError` where weights and sizes differ."""
    sizes, state = read_part(path, part)
    module = build_part(part, sizes)
    load_weights(module, state, path)
    return module, sizes


def load_weights(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """
    Load every weight of a module; raises `UserError` in one line where they do not fit.

    The black frame of another grid is left out: a stage at a new resolution looks at it anew.
    """
    own = module.state_dict()
    if 'black' in own and 'black' in state and own['black'].shape != state['black'].shape:
        state = {**state, 'black': own['black']}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f'{path}: {" ".join(str(error).split())[:300]}') from None


def frozen(module: nn.Module) -> nn.Module:
    """Return the module in evaluation mode and without gradients."""
    return module.eval().requires_grad_(False)
