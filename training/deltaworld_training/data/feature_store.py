# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cached features of clips on disk: written once, read as memory maps by every stage."""

import multiprocessing
import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from rich.progress import Progress
from torch.utils.data import Dataset

from deltaworld_training.data.clip import LABEL_STRIDE, ClipSource
from deltaworld_training.data.truth_maps import truth_maps


def _open(path: Path, dtype: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    if shape is not None and not path.exists():
        return np.lib.format.open_memmap(path, mode='w+', dtype=dtype, shape=shape)
    return np.lib.format.open_memmap(path, mode='r+' if shape else 'r')


class Extractor(Protocol):
    """What computes features: its grid (rows, columns) and the values of a feature."""

    @property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns of the features."""

    @property
    def feature_size(self) -> int:
        """Return the number of values of a feature."""

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Map frames (F, h, w, 3) to features (F, N, D) float32."""


class FeatureStore:
    """
    Arrays of all clips of one source.

    features (C, F, N, D) float16; times (C, F) s; labels (C, F, h/4, w/4) uint8 and depth
    likewise float16, in metres for the canonical focal length, NaN where unknown; done (C,).
    """

    def __init__(self, folder: Path):
        """Open the arrays that `build_store` wrote."""
        self.folder = folder
        self.features = _open(folder / 'features.npy', np.float16)
        self.times = _open(folder / 'times.npy', np.float64)
        self.labels = _open(folder / 'labels.npy', np.uint8)
        self.depth = _open(folder / 'depth.npy', np.float16)
        self.done = _open(folder / 'done.npy', np.uint8)

    @property
    def clips(self) -> np.ndarray:
        """Return the indices of the clips that are complete."""
        return np.flatnonzero(self.done)


def build_store(
    folder: Path, source: ClipSource, frames: int, extractor: Extractor,
    focal_length: float, workers: int,
) -> FeatureStore:
    """Compute the features of every clip that the folder lacks, in `workers` processes."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(source)
    rows, columns = extractor.grid
    label_size = (rows * 16 // LABEL_STRIDE, columns * 16 // LABEL_STRIDE)
    shapes = {
        'features': (np.float16, (count, frames, rows * columns, extractor.feature_size)),
        'times': (np.float64, (count, frames)),
        'labels': (np.uint8, (count, frames, *label_size)),
        'depth': (np.float16, (count, frames, *label_size)),
        'done': (np.uint8, (count,)),
    }
    for name, (dtype, shape) in shapes.items():
        _open(folder / f'{name}.npy', dtype, shape)
    missing = np.flatnonzero(FeatureStore(folder).done[:count] == 0)
    if len(missing):
        context = multiprocessing.get_context('spawn')
        queue = context.Queue()
        processes = [
            context.Process(target=_work, args=(
                folder, source, missing[worker::workers], extractor, focal_length, queue))
            for worker in range(workers)
        ]
        for process in processes:
            process.start()
        _await(processes, queue, len(missing), folder.name)
    return FeatureStore(folder)


def _await(processes: list, queue: Any, count: int, title: str) -> None:
    with Progress() as progress:
        task = progress.add_task(title, total=count)
        while count:
            item = queue.get()
            if isinstance(item, str):
                for process in processes:
                    process.terminate()
                raise RuntimeError(f'{title}: {item}')
            count -= 1
            progress.advance(task)
    for process in processes:
        process.join()


def _work(
    folder: Path, source: ClipSource, indices: np.ndarray, extractor: Extractor,
    focal_length: float, queue: Any,
) -> None:
    os.environ['LP_NUM_THREADS'] = '1'
    cv2.setNumThreads(1)
    arrays = {
        name: np.lib.format.open_memmap(folder / f'{name}.npy', mode='r+')
        for name in ('features', 'times', 'labels', 'depth', 'done')
    }
    for index in indices:
        try:
            clip = source.clip(int(index))
            arrays['features'][index] = extractor.features(clip.frames)
        except Exception as error:
            queue.put(f'clip {index}: {type(error).__name__}: {error}')
            raise
        arrays['times'][index] = clip.times
        arrays['labels'][index], arrays['depth'][index] = truth_maps(clip, focal_length)
        arrays['done'][index] = 1
        queue.put(int(index))


class Windows(Dataset):
    """Every run of `length` consecutive frames of some arrays of a store, as tensors."""

    def __init__(self, arrays: dict[str, np.ndarray], clips: np.ndarray, length: int):
        """Take arrays that begin with (clip, frame) and the clips to use."""
        self.arrays = arrays
        self.length = length
        frames = next(iter(arrays.values())).shape[1]
        self.index = [(c, s) for c in clips for s in range(frames - length + 1)]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.index)

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Return one window of every array."""
        clip, start = self.index[item]
        return {
            name: torch.from_numpy(np.array(array[clip, start:start + self.length]))
            for name, array in self.arrays.items()
        }
