# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make a backbone of several layers of DINOv3 with the PCA of their features."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import load_part
from deltaworld_ros.export.checkpoints import WEIGHT_FILES, read_checkpoint
from deltaworld_ros.export.hub import find_checkpoint
from deltaworld_ros.model.layered_dino import LayeredDino
from deltaworld_ros.model.networks import build_part
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.stages.feature_basis import fit_feature_basis
from deltaworld_training.stages.parts import save_parts

# Patches of each frame that the PCA looks at: neighbours are alike.
PATCHES = 256


def layered_backbone(
    weights: str, source: ClipSource, taps: Sequence[int], components: int, path: Path,
) -> float:
    """
    Write the backbone to a file for `--model.backbone`; return the share of variance kept.

    The first frame of each clip of the source is looked at. Raise `UserError` for layers that the
    backbone has not, or more components than there are values.
    """
    dino, sizes = load_part(read_checkpoint(find_checkpoint(weights, WEIGHT_FILES), 'backbone'))
    if not taps or sorted(set(taps)) != list(taps) or not 0 <= taps[0] <= taps[-1] < sizes[
            'layers']:
        raise UserError(f'layers {list(taps)}: must ascend within 0 to {sizes["layers"] - 1}')
    if components > len(taps) * sizes['size']:
        raise UserError(f'components {components}: must be at most {len(taps) * sizes["size"]}')
    sizes = {**sizes, 'kind': 'dinov3-layers', 'taps': list(taps), 'components': components}
    layered = cast(LayeredDino, build_part('backbone', sizes))
    layered.load_state_dict(dino.state_dict(), strict=False)
    rows = []
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for index in range(len(source)):
            frame = torch.from_numpy(source.clip(index).frames[:1]).permute(0, 3, 1, 2)
            levels = layered.levels(frame)[0].numpy()
            rows.append(levels[generator.permutation(len(levels))[:PATCHES]])
        kept = fit_feature_basis(layered, np.concatenate(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_parts(path, {f'backbone.{name}': value for name, value in layered.state_dict().items()},
               {'backbone': sizes}, {})
    return kept
