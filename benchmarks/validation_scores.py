# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score a stage's networks on the validation clips of a training run: the tables of docs/quality.md.

Run as `python benchmarks/validation_scores.py RUN FILE` after `deltaworld train bundle`, which
caches the clips in RUN/calibration_street and RUN/calibration_videos; FILE is a stage's file with
tokenizer and predictor, RUN/heads.safetensors has the heads. Needs a CPU and about a minute.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.stages.head_loss import HeadLoss
from deltaworld_training.stages.joint import decode_all
from deltaworld_training.stages.parts import load_part
from deltaworld_training.stages.predictor import NOISE_STD

CONTEXT, STEPS, SAMPLES, STARTS, BATCH = 4, 3, 12, (0, 3), 20
CLASSES = len(STREET)
VEHICLE = [one.name for one in STREET].index('vehicle')
# The clips of each store that are scored.
STORES = {'calibration_street': 60, 'calibration_videos': 40}


class Row:
    """The confusion of classes and the depth error that one kind of forecast has at one lead."""

    def __init__(self) -> None:
        self.confusion = np.zeros((CLASSES, CLASSES))
        self.depth_error = self.depth_count = 0.0

    def add(self, read: tuple[Tensor, Tensor], labels: np.ndarray, depth: np.ndarray) -> None:
        """Compare scores (n, classes, a, b) and depth (n, a, b) with the truth."""
        found, metres = read[0].argmax(1).numpy(), read[1].numpy()
        known = labels < CLASSES
        self.confusion += np.bincount(
            CLASSES * labels[known] + found[known], minlength=CLASSES ** 2,
        ).reshape(CLASSES, CLASSES)
        near = np.isfinite(depth) & (depth > 0.0) & (depth < 80.0)
        self.depth_error += float((np.abs(metres - depth)[near] / depth[near]).sum())
        self.depth_count += float(near.sum())

    def __str__(self) -> str:
        """Return the figures in one line."""
        right = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - right
        iou = np.where(union > 0, right / np.maximum(union, 1), np.nan)
        return (f'mIoU {np.nanmean(iou):.3f}, vehicle IoU {iou[VEHICLE]:.3f}, right pixels '
                f'{right.sum() / self.confusion.sum():.3f}, '
                f'AbsRel {self.depth_error / self.depth_count:.3f}')


@torch.no_grad()
def score(store: FeatureStore, clips: int, tokenizer: Any, world: Any, heads: HeadLoss) -> None:
    """Print the figures of the store's first clips."""
    rows: dict[tuple[str, int], Row] = defaultdict(Row)
    generator = torch.Generator().manual_seed(0)
    windows = [(clip, start) for clip in store.clips[:clips] for start in STARTS]
    energy, missed = np.zeros(STEPS), np.zeros(STEPS)
    for begin in range(0, len(windows), BATCH):
        chosen = windows[begin:begin + BATCH]

        def take(array: np.ndarray, chosen: list[tuple[int, int]] = chosen) -> Tensor:
            return torch.from_numpy(np.stack(
                [array[clip, start:start + CONTEXT + STEPS] for clip, start in chosen]))
        features, times = take(store.features).float(), take(store.times)
        labels, depth = take(store.labels).long(), take(store.depth).float()
        count = len(features)
        deltas = tokenizer.encode(
            features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1),
        ).unflatten(0, (count, -1))
        tokens = torch.cat([
            tokenizer.encode_anchor(features[:, 0])[:, None], deltas[:, :CONTEXT - 1]], 1)
        table = time_table(times - times[:, CONTEXT - 1:CONTEXT], time_frequencies())
        noise = NOISE_STD * torch.randn(
            count, SAMPLES, 1, world.noise_size, generator=generator)
        future = world.rollout(tokens, table, noise.expand(-1, -1, STEPS, -1))
        true, now = deltas[:, CONTEXT - 1:], features[:, CONTEXT - 1]
        energy += true.square().sum((0, 2)).numpy()
        missed += (future.mean(1) - true).square().sum((0, 2)).numpy()
        decoded = decode_all(
            tokenizer, future.flatten(0, 1), now.repeat_interleave(SAMPLES, 0))
        forecasts = {
            'copy-last': now[:, None].expand(-1, STEPS, -1, -1),
            'fused': decoded.unflatten(0, (count, SAMPLES)).mean(1),
            'true tokens': decode_all(tokenizer, true, now), 'true frame': features[:, CONTEXT:]}
        for step in range(STEPS):
            size = (labels.shape[-2], labels.shape[-1])
            scores, metres = heads.read(features[:, CONTEXT + step], size)
            own_labels, own_depth = labels[:, CONTEXT + step], depth[:, CONTEXT + step]
            bare = (own_labels == UNLABELLED).flatten(1).all(1)[:, None, None]
            truth = (torch.where(bare, scores.argmax(1), own_labels).numpy(),
                     torch.where(bare, metres, own_depth).numpy())
            for name, found in forecasts.items():
                rows[name, step].add(heads.read(found[:, step], size), *truth)
    print(f'{store.folder.name}: explained of the tokens {np.round(1 - missed / energy, 2)}')
    for (name, step), row in rows.items():
        print(f'  {name}, step {step + 1}: {row}')


def main() -> None:
    """Read the arguments and score both stores."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of the run')
    parser.add_argument('file', type=Path, help="a stage's file with tokenizer and predictor")
    arguments = parser.parse_args()
    tokenizer: Any = load_part(arguments.file, 'tokenizer')[0]
    world = load_part(arguments.file, 'world')[0]
    heads = HeadLoss(arguments.run / 'heads.safetensors', tokenizer.grid).eval()
    for name, clips in STORES.items():
        score(FeatureStore(arguments.run / name), clips, tokenizer, world, heads)


if __name__ == '__main__':
    main()
