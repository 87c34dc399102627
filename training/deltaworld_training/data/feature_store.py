# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cached features of clips on disk: written once, read as memory maps by every stage."""

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.markup import escape
from rich.progress import Progress
from torch.utils.data import Dataset

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import LABEL_STRIDE, ClipSource
from deltaworld_training.data.description import keep_description
from deltaworld_training.data.truth_maps import truth_maps
from deltaworld_training.data.worker import start_worker

DESCRIPTION = 'description.json'
# Not in the description: stores of versions that kept no motion stay what they are.
MOTION = 'motion.npy'


class Extractor(Protocol):
    """What computes features."""

    grid: tuple[int, int]   # rows, columns
    stride: int             # image pixels a cell
    feature_size: int

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Map frames (F, h, w, 3) to features (F, N, D) float32."""


class FeatureStore:
    """
    Arrays of all clips of one source.

    features (C, F, N, D) float16; times (C, F) s; labels (C, F, h/4, w/4) uint8 and depth
    likewise float16, in metres for the canonical focal length, NaN where unknown; done (C,);
    motion (C, F, 2) float32, speed in m/s and yaw rate in rad/s as in `Clip`, NaN where unknown,
    as everywhere in stores of versions that kept none.
    """

    def __init__(self, folder: Path):
        """
        Open the arrays that `build_store` wrote.

        Raises `UserError` where one is missing, torn, or of another number of clips or frames.
        """
        self.folder = folder
        self.features = _opened(folder, 'features')
        self.times = _opened(folder, 'times')
        self.labels = _opened(folder, 'labels')
        self.depth = _opened(folder, 'depth')
        self.done = _opened(folder, 'done')
        self.motion = _opened(folder, 'motion') if (folder / MOTION).exists() else \
            np.broadcast_to(np.float32(np.nan), (*self.features.shape[:2], 2))
        for name in ('times', 'labels', 'depth', 'done', 'motion'):
            shape, expected = getattr(self, name).shape, self.features.shape[:2]
            if shape[:2] != expected[:len(shape[:2])]:
                raise UserError(f'{folder}/{name}.npy: holds {shape[:2]} clips and frames, '
                                f'features.npy {expected}; delete {folder}')

    @property
    def clips(self) -> np.ndarray:
        """Return the indices of the clips that are complete."""
        return np.flatnonzero(self.done)

    @property
    def complete(self) -> bool:
        """Return whether every clip is there; an interrupted run leaves some out."""
        return bool(np.all(self.done))

    @property
    def digest(self) -> str:
        """Return a hash of what the store was made from and of how much of it is there."""
        path = self.folder / DESCRIPTION
        described = path.read_bytes() if path.is_file() else b''
        return hashlib.sha256(described + np.asarray(self.done).tobytes()).hexdigest()[:12]


def _opened(folder: Path, name: str) -> np.ndarray:
    path = folder / f'{name}.npy'
    try:
        return np.lib.format.open_memmap(path, mode='r')
    except (OSError, ValueError) as error:
        raise UserError(f'{path}: not a readable array of a feature store: {error}; '
                        f'delete {folder} and cache the features anew') from None


def build_store(
    folder: Path, source: ClipSource, frames: int, extractor: Extractor,
    focal_length: float, workers: int, description: dict[str, Any],
) -> FeatureStore:
    """
    Compute the features of every clip that the folder lacks, in `workers` processes.

    With no workers this process computes them. `description` says what the clips come from; with
    the sizes it is kept in the folder, and a folder of other clips is refused with `UserError`.
    """
    count = len(source)
    rows, columns = extractor.grid
    label_size = tuple(extractor.stride * count // LABEL_STRIDE for count in extractor.grid)
    shapes: dict[str, tuple[type, tuple[int, ...]]] = {
        'features': (np.float16, (count, frames, rows * columns, extractor.feature_size)),
        'times': (np.float64, (count, frames)),
        'labels': (np.uint8, (count, frames, *label_size)),
        'depth': (np.float16, (count, frames, *label_size)),
        'done': (np.uint8, (count,)),
    }
    keep_description(folder / DESCRIPTION, {
        **description, 'focal_length': focal_length,
        'shapes': {name: list(shape) for name, (_, shape) in shapes.items()},
    }, folder / 'done.npy')
    if not (folder / 'done.npy').exists():
        np.save(folder / MOTION, np.full((count, frames, 2), np.nan, np.float32))
    for name, (dtype, shape) in shapes.items():
        if not (folder / f'{name}.npy').exists():
            np.lib.format.open_memmap(
                folder / f'{name}.npy', mode='w+', dtype=dtype, shape=shape)
    missing = np.flatnonzero(FeatureStore(folder).done == 0)
    if len(missing):
        _compute(folder, source, missing, extractor, focal_length, workers)
    return FeatureStore(folder)


def _compute(
    folder: Path, source: ClipSource, missing: np.ndarray, extractor: Extractor,
    focal_length: float, workers: int,
) -> None:
    if not workers:
        _start(folder, source, extractor, focal_length)
        for index in missing:
            _cache(int(index))
        return
    # Spawned, not forked: a GL context belongs to one process.
    with Progress() as progress, ProcessPoolExecutor(
            workers, multiprocessing.get_context('spawn'), _start,
            (folder, source, extractor, focal_length)) as pool:
        task = progress.add_task(escape(folder.name), total=len(missing))
        clips = {pool.submit(_cache, int(index)): int(index) for index in missing}
        try:
            for done in as_completed(clips):
                done.result()
                progress.advance(task)
        except BrokenProcessPool:
            raise UserError(
                f'{folder}: a process that computes features was killed (out of memory?); '
                'repeat the command with fewer workers: finished clips are kept') from None
        except UserError:
            raise
        except Exception as error:
            raise RuntimeError(f'{folder.name}: clip {clips[done]}: '
                               f'{type(error).__name__}: {error}') from error
        finally:
            pool.shutdown(cancel_futures=True)


# What a worker process computes with, set when it starts.
_work: dict[str, Any] = {}


def _start(
    folder: Path, source: ClipSource, extractor: Extractor, focal_length: float,
) -> None:
    start_worker()
    arrays = {
        name: np.lib.format.open_memmap(folder / f'{name}.npy', mode='r+')
        for name in ('features', 'times', 'labels', 'depth', 'done', 'motion')
        if (folder / f'{name}.npy').exists()
    }
    _work.update(
        source=source, extractor=extractor, focal_length=focal_length, arrays=arrays)


def _cache(index: int) -> None:
    arrays = _work['arrays']
    clip = _work['source'].clip(index)
    arrays['features'][index] = _work['extractor'].features(clip.frames)
    arrays['times'][index] = clip.times
    arrays['labels'][index], arrays['depth'][index] = truth_maps(clip, _work['focal_length'])
    if clip.motion is not None and 'motion' in arrays:
        arrays['motion'][index] = clip.motion
    arrays['done'][index] = 1


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
