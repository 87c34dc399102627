# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ladder's data: features of the street world for training, and of its test split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deltaworld_training.data.clip import Clip
from deltaworld_training.data.extractor import FeatureExtractor, feature_extractor
from deltaworld_training.data.feature_store import FeatureStore, build_store
from deltaworld_training.data.photometric import apply_look, sample_look
from deltaworld_training.data.street_clips import StreetClips, rendered_clip
from deltaworld_training.ladder.settings import LadderSettings
from deltaworld_training.stages.feature_basis import new_backbone
from deltaworld_training.stages.parts import load_part, save_parts
from deltaworld_training.street.clip import ClipRenderer
from deltaworld_training.street.world import TEST_SEEDS, TRAIN_SEEDS, StreetWorld


class TestClips:
    """Clips of the test split, one a seed, whose frames are exactly one stride apart."""

    def __init__(self, count: int, frames: int, stride: float, size: tuple[int, int]):
        """Take the number of clips, frames a clip, seconds a step and the image size (w, h)."""
        self.count = count
        self.times = stride * np.arange(frames)
        self.size = size
        self._renderer = ClipRenderer(size)

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def clip(self, index: int) -> Clip:
        """Render clip `index`."""
        seed = TEST_SEEDS.start + index
        generator = np.random.default_rng((seed, 1))
        rendered = self._renderer.render(StreetWorld(seed), self.times.tolist())
        look = sample_look(generator)
        return rendered_clip(
            rendered, self.times, [apply_look(frame.rgb, look, generator) for frame in rendered])


@dataclass(frozen=True)
class LadderData:
    """The frozen backbone and the feature stores of both splits."""

    backbone: Path
    extractor: FeatureExtractor
    train: FeatureStore
    train_folder: Path
    test: FeatureStore


def make_data(settings: LadderSettings, folder: Path) -> LadderData:
    """Fit the backbone's basis and compute the features that the folder lacks."""
    size = (settings.image.width, settings.image.height)
    train = StreetClips(
        TRAIN_SEEDS.start, settings.train_clips, settings.frames, None, size)
    test = TestClips(
        settings.test_clips, settings.context + settings.steps, settings.stride, size)
    path = folder / 'backbone.safetensors'
    if not path.exists():
        _fit_backbone(settings, train, path)
    backbone: Any = load_part(path, 'backbone')[0]
    extractor = feature_extractor(backbone, folder / 'features.onnx', size)
    stores = [
        build_store(folder / name, source, frames, extractor, settings.image.focal_length,
                    settings.workers, {'ladder': settings.values(), 'split': name})
        for name, source, frames in (
            ('train', train, settings.frames), ('test', test, len(test.times)))
    ]
    return LadderData(path, extractor, stores[0], folder / 'train', stores[1])


def _fit_backbone(settings: LadderSettings, source: StreetClips, path: Path) -> None:
    """Keep the backbone with a feature basis of its own."""
    (path.parent / 'features.onnx').unlink(missing_ok=True)   # of another backbone
    sizes = settings.backbone_sizes()
    backbone: Any = new_backbone(sizes, [source], settings.basis_clips)[0]
    state = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    save_parts(path, state, {'backbone': sizes}, settings.values())
