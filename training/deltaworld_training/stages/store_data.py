# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches from feature stores on disk: their features, or the tokens of them."""

import os
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from deltaworld_ros.bundle.manifest import sha256_of
from deltaworld_ros.errors import UserError
from deltaworld_training.data.feature_data import FeatureData
from deltaworld_training.data.feature_store import FeatureStore, Windows
from deltaworld_training.stages.parts import load_part
from deltaworld_training.stages.precision import fastest_precision

TOKEN_BATCH = 16


class StoreData(lightning.LightningDataModule):
    """
    Windows of some frames of the clips in feature stores.

    With `tokenizer` the windows hold 'anchors' and 'deltas' (B, F, Dz) instead of 'features';
    with `truth` also 'labels' and 'depth', with `motion` also 'motion'. `stores` are the opened
    stores.
    """

    def __init__(
        self, folders: list[Path], frames: int, batch: int, weights: list[float] | None = None,
        truth: bool = False, tokenizer: Path | None = None, motion: bool = False, seed: int = 0,
    ):
        """
        Take the stores' folders and how windows are drawn.

        frames: of a window; batch: windows of one optimiser step, over all processes; weights:
        share of each store, alike unless given; tokenizer: file that encodes the clips once.
        """
        super().__init__()
        self.folders = folders
        self.frames = frames
        self.batch = batch
        self.weights = weights or [1.0] * len(folders)
        self.truth = truth
        self.tokenizer = tokenizer
        self.motion = motion
        self.seed = seed

    def setup(self, stage: str) -> None:
        """Open the stores and encode what they lack."""
        missing = [str(folder) for folder in self.folders
                   if not (folder / 'features.npy').is_file()]
        if missing:
            raise UserError(f'data.folders: no feature store in {", ".join(missing)}')
        self.stores = [FeatureStore(folder) for folder in self.folders]
        for store in self.stores:
            if not store.complete:
                raise UserError(
                    f'data.folders: {store.folder}: holds {len(store.clips)} of '
                    f'{len(store.done)} clips, since caching was interrupted; repeat '
                    'deltaworld train features')
        self.windows = [self._windows(store) for store in self.stores]

    def _windows(self, store: FeatureStore) -> Windows:
        if self.tokenizer is not None:
            arrays = encoded_store(self.tokenizer, store)
            if self.motion:
                arrays['motion'] = store.motion[store.clips]
            return Windows(arrays, np.arange(len(arrays['times'])), self.frames)
        arrays = {'features': store.features, 'times': store.times}
        if self.truth:
            arrays |= {'labels': store.labels, 'depth': store.depth}
        if self.motion:
            arrays['motion'] = store.motion
        return Windows(arrays, store.clips, self.frames)

    def train_dataloader(self) -> DataLoader:
        """Return the batches of this rank from the trainer's step on."""
        data = FeatureData(self.windows, self.weights, self.batch, self.seed)
        data.trainer = self.trainer
        return data.train_dataloader()

    def example(self) -> dict[str, torch.Tensor]:
        """Return one window of features of each store, for pictures."""
        windows = [
            Windows({'features': store.features, 'times': store.times}, store.clips[:1],
                    self.frames)[0]
            for store in self.stores
        ]
        return {name: torch.stack([window[name] for window in windows]) for name in windows[0]}


def encoded_store(tokenizer: Path, store: FeatureStore) -> dict[str, np.ndarray]:
    """Return the tokens of a store by a tokenizer's file; they are kept beside the features."""
    digest = sha256_of(tokenizer)[:12]
    path = store.folder / f'tokens-{digest}-{store.digest}.npz'
    if not path.is_file():
        arrays = encode_store(load_part(tokenizer, 'tokenizer')[0], store)
        # Several processes may write it at once: the last whole file stays.
        temporary = path.with_name(f'{path.stem}.{os.getpid()}.tmp.npz')
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@torch.no_grad()
def encode_store(
    tokenizer: Any, store: FeatureStore, batch: int = TOKEN_BATCH,
) -> dict[str, np.ndarray]:
    """Return anchor and delta tokens (C, F, token size) of all complete clips, and times."""
    clips, frames = store.clips, store.features.shape[1]
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    tokenizer.to(device)
    half = fastest_precision() == 'bf16-mixed'
    anchors = np.zeros((len(clips), frames, tokenizer.token_size), np.float16)
    deltas = np.zeros_like(anchors)
    for begin in range(0, len(clips), batch):
        features = torch.from_numpy(
            store.features[clips[begin:begin + batch]]).to(device).float()
        count = features.shape[0]
        part = slice(begin, begin + count)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            pairs = tokenizer.encode(
                features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1))
            anchor = tokenizer.encode_anchor(features.flatten(0, 1)).float()
        deltas[part, 1:] = pairs.float().unflatten(0, (count, frames - 1)).cpu().numpy()
        anchors[part] = anchor.unflatten(0, (count, frames)).cpu().numpy()
    tokenizer.cpu()
    return {'anchors': anchors, 'deltas': deltas, 'times': store.times[clips]}
