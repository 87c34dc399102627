# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decode fewer futures at once where the device has too little memory for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.engine.interface import Engine, Features, LeadDecoding, OutOfDeviceMemory
from deltaworld_ros.engine.wrapped_engine import WrappedEngine

_EACH_FUTURE = ('labels', 'depth', 'future_features')
_FUSED = ('fused_labels', 'fused_depth', 'confidence')
# What ONNX Runtime, cuDNN, cuBLAS, TensorRT and CUDA say: each raises an error of its own type.
_OUT_OF_MEMORY_TEXTS = (
    'failed to allocate memory', 'out of memory', 'outofmemory', 'cuda failure 2:',
    'status_alloc_failed')


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an engine failed for want of memory, which a smaller batch may get around."""
    # torch.cuda.OutOfMemoryError by its name: this module must not import torch.
    if isinstance(error, (OutOfDeviceMemory, MemoryError)) or \
            type(error).__name__ == 'OutOfMemoryError':
        return True
    text = str(error).lower()
    return any(known in text for known in _OUT_OF_MEMORY_TEXTS)


class DecodeBatches(WrappedEngine):
    """
    An engine that decodes all futures at once until its device runs out of memory.

    Then it halves their number until that works, keeps to it, and says so in one line of `log`.
    The outputs are the same. Where one future is too much, the engine's error passes through.
    """

    def __init__(self, engine: Engine, manifest: Manifest, log: Callable[[str], None]) -> None:
        super().__init__(engine)
        self._manifest = manifest
        self._log = log
        self._most: int | None = None  # futures at once; None while all of them fit

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`."""
        most = min(self._most or len(tokens), len(tokens))
        shortage = ''
        while True:
            try:
                maps = self._decode(features, tokens, weights, outputs, leads, most)
            except Exception as error:
                if most == 1 or not is_out_of_memory(error):
                    raise
                shortage = ' '.join(str(error).split())[:200]
                most = (most + 1) // 2
            else:
                if shortage:
                    self._most = most
                    self._log(f'{self.name}: too little memory to decode {len(tokens)} futures '
                              f'at once; {most} at a time from now on ({shortage})')
                return maps

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """See `Engine.prepare_leads`; nothing, and a line in the log, where memory is short."""
        try:
            return self._engine.prepare_leads(bundle)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._log(f'{self.name}: too little memory for graphs of single leads; all leads are '
                      'decoded each time')
            return []

    def _decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None, most: int,
    ) -> dict[str, NDArray[Any]]:
        """Decode at most `most` futures at once; fewer than all of them for every lead."""
        if most >= len(tokens):
            return self._engine.decode(features, tokens, weights, outputs, leads)
        fused = any(name in outputs for name in _FUSED)
        mixes = bool(self._manifest.temperatures)
        kept = [name for name in _EACH_FUTURE if name in outputs
                or (name == 'labels' and 'confidence' in outputs and not mixes)]
        averages = fused and self._manifest.fused == 'features'
        needed = {*kept, 'future_features'} if averages else {*kept}
        if mixes and not {'confidence', 'class_probabilities'}.isdisjoint(outputs):
            needed.add('class_probabilities')
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in kept}
        mean: Any = 0.0
        classes: Any = 0.0
        for start in range(0, len(tokens), most) if needed else ():
            chosen = slice(start, start + most)
            part = self._engine.decode(features, tokens[chosen], weights[chosen], sorted(needed))
            if averages:
                mean = mean + np.tensordot(weights[chosen], part['future_features'], axes=1)
            if 'class_probabilities' in needed:
                ahead = part['class_probabilities'][1:]
                present, classes = part['class_probabilities'][:1], classes + ahead
            for name in kept:
                parts[name].append(part[name])
        maps = {name: np.concatenate(values) for name, values in parts.items()}
        if averages:
            maps |= self._of_features(features, mean.astype(np.float32))
        elif fused:
            mean_token = np.tensordot(weights, tokens, axes=1)[None].astype(np.float32)
            maps |= self._engine.decode(features, mean_token, np.ones(1, np.float32), _FUSED[:2])
        if 'class_probabilities' in needed:
            maps['class_probabilities'] = np.concatenate([present, classes])
            if 'confidence' in outputs:
                maps['confidence'] = probability(
                    maps['class_probabilities'], maps['fused_labels'])
        elif 'confidence' in outputs:
            agrees = maps['labels'] == maps['fused_labels'][1:]
            share = np.tensordot(weights, agrees.astype(np.float32), axes=1)
            maps['confidence'] = np.concatenate([np.ones_like(share[:1]), share])
        return {name: maps[name] for name in outputs}

    def _of_features(
            self, features: Features, means: NDArray[np.float32],
    ) -> dict[str, NDArray[Any]]:
        """Put the heads on the present (entry 0) and on the mean features (S, N, D)."""
        # The decode graph does so with the features it is given; its one future is of no use here.
        tokens = np.zeros((1, len(means), self._manifest.token_size), np.float32)
        one = np.ones(1, np.float32)
        names = ('fused_labels', 'fused_depth')
        entries = [self._engine.decode(frame, tokens, one, names) for frame in (
            features, *(self._engine.features_from_host(mean) for mean in means))]
        return {name: np.stack([entry[name][0] for entry in entries]) for name in names}


def probability(classes: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probability (n, a, b) of labels by that of classes (n, C, rows, columns)."""
    size = labels.shape[:0:-1]
    resized = [cv2.resize(np.moveaxis(one, 0, -1), size, interpolation=cv2.INTER_LINEAR)
               for one in classes]
    return np.stack([
        np.take_along_axis(one.reshape(*label.shape, -1), label[..., None].astype(np.intp), 2)
        for one, label in zip(resized, labels, strict=True)])[..., 0]
