# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several layers of DINOv3 and their PCA become one backbone, as DINO-Foresight's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.parameter_values import fill

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_training.data.clip import Clip
from deltaworld_training.runs.layers import layered_backbone
from deltaworld_training.stages.parts import load_part


class Blots:
    """Clips of one frame of coloured patches."""

    def __len__(self) -> int:
        return 12

    def clip(self, index: int) -> Clip:
        cells = np.random.default_rng(index).integers(0, 256, (1, 4, 6, 3), dtype=np.uint8)
        return Clip(cells.repeat(16, 1).repeat(16, 2), np.zeros(1))


@pytest.fixture(scope='module')
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('dino') / 'model.safetensors'
    save_file(fill(DinoV3(64, 1, 3, 128), 'backbone').state_dict(), path)
    return path


@torch.no_grad()
def test_layers_are_joined_and_projected(dino: Path, tmp_path: Path) -> None:
    path = tmp_path / 'run' / 'layers.safetensors'
    kept = layered_backbone(str(dino), Blots(), [0, 2], 20, path)
    assert 0.2 < kept < 1.0
    made, sizes = load_part(path, 'backbone')
    assert sizes['taps'] == [0, 2] and made.feature_size == 20
    image = torch.from_numpy(Blots().clip(3).frames).permute(0, 3, 1, 2)
    levels = made.levels(image)
    assert levels.shape == (1, 24, 128)
    whole, first = fill(DinoV3(64, 1, 3, 128), 'backbone'), fill(DinoV3(64, 1, 3, 128), 'backbone')
    del first.layer[1:]
    torch.testing.assert_close(levels[..., 64:], whole(image))
    torch.testing.assert_close(levels[..., :64], first(image))
    features = torch.cat([
        made(torch.from_numpy(Blots().clip(index).frames).permute(0, 3, 1, 2))
        for index in range(len(Blots()))]).flatten(0, 1)
    assert features.square().mean() == pytest.approx(1.0, rel=0.05)
    # Components of all patches that were looked at are without correlation, the largest first.
    covariance = features.T @ features / len(features)
    spread = covariance.diagonal()
    assert (spread[:-1] >= spread[1:] - 1e-3).all()
    assert (covariance - spread.diag()).abs().max() < 0.02 * spread[0]


@pytest.mark.parametrize('taps, components, says', [
    ([0, 3], 20, r'layers \[0, 3\]: must ascend within 0 to 2'), ([], 20, 'must ascend'),
    ([1, 0], 20, 'must ascend'), ([0], 65, 'components 65: must be at most 64')])
def test_what_the_backbone_has_not_is_refused(
        dino: Path, tmp_path: Path, taps: list[int], components: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        layered_backbone(str(dino), Blots(), taps, components, tmp_path / 'x.safetensors')
    assert not list(tmp_path.iterdir())
