# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Backbone features of frames, computed by ONNX Runtime on one thread of each process."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from deltaworld_ros.model.protocols import Backbone


class _Features(nn.Module):
    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.backbone(image.permute(0, 3, 1, 2))
        return features


@dataclass
class FeatureExtractor:
    """The features of a graph that `feature_extractor` wrote; `grid` is (rows, columns)."""

    graph: Path
    grid: tuple[int, int]
    stride: int
    feature_size: int
    _session: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict:
        """Leave the session behind when the extractor goes to another process."""
        return {**self.__dict__, '_session': None}

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Map frames (F, h, w, 3) to features (F, N, D) float32."""
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                str(self.graph), options, providers=['CPUExecutionProvider'])
        features: np.ndarray = self._session.run(None, {'image': frames})[0]
        return features


def feature_extractor(
    backbone: Backbone, path: Path, size: tuple[int, int],
) -> FeatureExtractor:
    """
    Return what computes a backbone's features of images of `size` (width, height).

    Its ONNX graph is written to `path` unless it is there.
    """
    width, height = size
    if not path.exists():
        # Whole or not at all: its presence says that it is done.
        partial = path.with_name(f'{path.stem}.{os.getpid()}.partial.onnx')
        image = torch.zeros(2, height, width, 3, dtype=torch.uint8)
        batch = torch.export.Dim('batch', min=1, max=1024)
        torch.onnx.export(
            _Features(backbone).eval(), (image,), partial, input_names=['image'],
            output_names=['features'], dynamic_shapes={'image': {0: batch}}, opset_version=18,
            dynamo=True, verbose=False, external_data=False)
        partial.replace(path)
    grid = height // backbone.stride, width // backbone.stride
    return FeatureExtractor(path, grid, backbone.stride, backbone.feature_size)
