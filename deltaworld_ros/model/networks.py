# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All networks of a bundle together: built from plain sizes, kept in one safetensors file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.protocols import Backbone, Tokenizer, World
from deltaworld_ros.model.registry import PARTS, network_class


@dataclass
class Networks:
    """The trained parts, and the sizes that each was built with."""

    sizes: dict[str, dict[str, Any]]
    backbone: Backbone
    tokenizer: Tokenizer
    world: World
    segmentation: SegmentationHead
    depth: DepthHead

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules by name."""
        return {name: getattr(self, name) for name in PARTS}


def build_part(name: str, sizes: dict[str, Any]) -> nn.Module:
    """Build one untrained part; `kind` in its sizes names the class."""
    arguments = dict(sizes)
    return network_class(name, arguments.pop('kind', None))(**arguments).eval()


def build_networks(sizes: dict[str, dict[str, Any]]) -> Networks:
    """
    Build the untrained networks; `sizes` has one mapping a part.

    Its key `kind` names the class (see `registry`), the others are the class's arguments.
    """
    parts = {name: build_part(name, sizes[name]) for name in PARTS}
    return Networks(sizes, **parts)  # type: ignore[arg-type]


def save_networks(networks: Networks, path: Path) -> None:
    """Write every parameter and buffer, with the sizes in the file's metadata."""
    tensors = {
        f'{part}.{name}': value.contiguous()
        for part, module in networks.parts().items()
        for name, value in module.state_dict().items()
    }
    save_file(tensors, path, metadata={'sizes': json.dumps(networks.sizes)})


def load_networks(path: Path) -> Networks:
    """Read networks back; raise UserError where the file is not one that `save` wrote."""
    try:
        with safe_open(path, 'pt') as file:
            sizes = json.loads((file.metadata() or {}).get('sizes', 'null'))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f'{path}: not a readable safetensors file: {error}') from None
    if not isinstance(sizes, dict) or set(sizes) != set(PARTS):
        raise UserError(f'{path}: its metadata lacks the sizes of {", ".join(PARTS)}')
    try:
        networks = build_networks(sizes)
        for part, module in networks.parts().items():
            prefix = f'{part}.'
            module.load_state_dict({
                name.removeprefix(prefix): value for name, value in tensors.items()
                if name.startswith(prefix)})
    except (TypeError, KeyError, RuntimeError) as error:
        raise UserError(f'{path}: {" ".join(str(error).split())[:300]}') from None
    return networks
