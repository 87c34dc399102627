# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Paint features as pictures, by the optional fourth graph of a bundle."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.graph_file import check_graph, external_files
from deltaworld_ros.bundle.manifest import PAINT_GRAPH
from deltaworld_ros.engine.onnxruntime_engine import CPU, CUDA, session_options
from deltaworld_ros.errors import UserError


class PaintingGraph:
    """
    Features to pictures, in ONNX Runtime beside whatever engine runs the other graphs.

    It uses CUDA where ONNX Runtime has it. The graph is loaded for the first picture, since few
    look at pictures and that of ViT-B takes 1.7 GB.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        self._path = bundle.file(PAINT_GRAPH)
        self._manifest = bundle.manifest
        self._threads = threads
        self._session: Any = None
        self._loading = threading.Lock()   # several cameras share one painter

    @staticmethod
    def of(bundle: Bundle, threads: int = 0) -> PaintingGraph | None:
        """Return the painter of a bundle, or None where it has none."""
        return PaintingGraph(bundle, threads) if PAINT_GRAPH in bundle.manifest.files else None

    def paint(self, features: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Paint features (n, N, D) as RGB pictures (n, h, w, 3) of the input image's size."""
        with self._loading:
            session = self._session or self._load()
        return np.concatenate([
            session.run(['picture'], {'features': one[None]})[0]
            for one in np.ascontiguousarray(features, np.float32)])

    def _load(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            raise UserError('painting futures needs the Python package onnxruntime '
                            '(pip install onnxruntime)') from None
        content = self._path.read_bytes()
        # It was verified with the bundle, which may be long ago.
        if hashlib.sha256(content).hexdigest() != self._manifest.files[PAINT_GRAPH]:
            raise UserError(f'{self._path}: was altered since the bundle was loaded')
        try:
            if external_files(content):
                raise UserError('has weights in other files')
            check_graph('paint', content, self._manifest)
        except UserError as error:
            raise UserError(f'{self._path}: {error}') from None
        there = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(
            content, session_options(self._threads),
            providers=[one for one in (CUDA, CPU) if one in there])
        return self._session
