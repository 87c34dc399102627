# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score a stage's networks on the validation clips of a training run: the tables of docs/quality.md.

Run as `python benchmarks/validation_scores.py RUN FILE ...` after `deltaworld train bundle`,
which caches the clips in RUN/calibration_street and RUN/calibration_videos. The files are those of
stages; tokenizer and predictor are taken from the last that has one, the heads from
RUN/heads.safetensors. With `--pasts 16` the samples are compared with all true futures of so many
open pasts of held-out worlds too. Needs a CPU and about a minute, and ten more for the pasts.
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
from deltaworld_training.diversity.evaluation import copy_last, score_past, with_features
from deltaworld_training.diversity.futures import TrueFutures, true_futures
from deltaworld_training.diversity.measures import PastScore, pool
from deltaworld_training.stages.head_loss import HeadLoss
from deltaworld_training.stages.joint import decode_all
from deltaworld_training.stages.parts import holds, load_part
from deltaworld_training.stages.predictor import NOISE_STD
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.world import TRAIN_SEEDS

CONTEXT, STEPS, SAMPLES, STARTS, BATCH = 4, 3, 12, (0, 3), 20
CLASSES = len(STREET)
GRID = 12, 20
VEHICLE = [one.name for one in STREET].index('vehicle')
# Of the training split, after every world that anything is trained or calibrated on.
PAST_SEEDS = TRAIN_SEEDS.start + 950_000
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
def score(
    store: FeatureStore, clips: int, tokenizer: Any, world: Any, heads: HeadLoss, std: float,
) -> None:
    """Print the figures of the store's first clips; `std` is of the noise."""
    rows: dict[tuple[str, int], Row] = defaultdict(Row)
    generator = torch.Generator().manual_seed(0)
    windows = [(clip, start) for clip in store.clips[:clips] for start in STARTS]
    energy, missed = np.zeros(STEPS), np.zeros(STEPS)
    errors: dict[str, float] = defaultdict(float)
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
        noise = std * torch.randn(
            count, SAMPLES, 1, world.noise_size, generator=generator)
        future = world.rollout(tokens, table, noise.expand(-1, -1, STEPS, -1))
        true, now = deltas[:, CONTEXT - 1:], features[:, CONTEXT - 1]
        energy += true.square().sum((0, 2)).numpy()
        missed += (future.mean(1) - true).square().sum((0, 2)).numpy()
        decoded = decode_all(
            tokenizer, future.flatten(0, 1), now.repeat_interleave(SAMPLES, 0))
        each = decoded.unflatten(0, (count, SAMPLES))
        # After the future is known, as in `deltaworld evaluate`.
        best = (each[:, :, -1] - features[:, None, -1]).square().mean((2, 3)).argmin(1)
        forecasts = {
            'copy-last': now[:, None].expand(-1, STEPS, -1, -1),
            'mean features': each.mean(1),
            'mean token': decode_all(tokenizer, future.mean(1), now),
            'best sample': each[torch.arange(count), best],
            'true tokens': decode_all(tokenizer, true, now), 'true frame': features[:, CONTEXT:]}
        last = features[:, None, -1]
        for name, found in (
                *((name, found[:, None, -1]) for name, found in forecasts.items()),
                ('one sample', each[:, :, -1])):
            errors[name] += float((found - last).square().mean((2, 3)).mean(1).sum())
        errors['spread'] += float(
            (each[:, :, -1] - each[:, :, -1].mean(1, keepdim=True)).square().mean((1, 2, 3)).sum())
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
    print('  feature error at the last step: ' + ', '.join(
        f'{name} {value / errors["copy-last"]:.3f}' for name, value in errors.items()))
    for (name, step), row in rows.items():
        print(f'  {name}, step {step + 1}: {row}')


@torch.no_grad()
def score_pasts(run: Path, count: int, tokenizer: Any, world: Any, std: float) -> None:
    """Print how 20 samples, and the true tokens, meet all true futures of open pasts."""
    backbone: Any = load_part(run / 'backbone.safetensors', 'backbone')[0]

    def extract(images: np.ndarray) -> np.ndarray:
        found = [backbone(torch.from_numpy(image[None]).permute(0, 3, 1, 2)) for image in images]
        return np.asarray(torch.cat(found).numpy())
    size = 320, 192
    renderer, seed = Renderer(*size), PAST_SEEDS
    sets: list[TrueFutures] = []
    while len(sets) < count:
        sets += [found for found in [true_futures(seed, renderer)] if found]
        seed += 1
    generator = torch.Generator().manual_seed(1)
    scores: dict[str, list[PastScore]] = defaultdict(list)
    for truth in with_features(sets, extract):
        known = torch.from_numpy(truth.past.features)[None]
        deltas = tokenizer.encode(known[0, :-1], known[0, 1:])[None]
        tokens = torch.cat([tokenizer.encode_anchor(known[:, 0])[:, None], deltas], 1)
        times = 0.2 * torch.arange(1 - CONTEXT, STEPS + 1, dtype=torch.float64)[None]
        noise = std * torch.randn(1, 20, 1, world.noise_size, generator=generator)
        samples = world.rollout(
            tokens, time_table(times, time_frequencies()), noise.expand(-1, -1, STEPS, -1))[0]
        future = torch.from_numpy(truth.futures)
        before = torch.cat([known[:, -1:].expand(len(future), -1, -1, -1), future[:, :-1]], 1)
        true = tokenizer.encode(before.flatten(0, 1), future.flatten(0, 1)).unflatten(
            0, (-1, STEPS))
        for name, found, weights in (
                ('20 samples', samples, np.full(20, 0.05)),
                ('true tokens', true, truth.probabilities)):
            decoded = decode_all(tokenizer, found, known[0, -1:].expand(len(found), -1, -1))
            scores[name].append(score_past(decoded.numpy(), weights, truth))
        scores['copy-last'].append(score_past(*copy_last(truth.past), truth))
    for name, rows in scores.items():
        pooled = pool(rows)
        print(f'  {count} open pasts, {name}: ' + ', '.join(
            f'{key} {pooled[key]:.3f}' for key in (
                'coverage', 'precision', 'energy_distance', 'decided', 'best', 'fused', 'mean',
                'spread')))


def main() -> None:
    """Read the arguments and score both stores."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of the run')
    parser.add_argument('files', type=Path, nargs='+', help='files of stages')
    parser.add_argument('--pasts', type=int, default=0, help='open pasts to find and score')
    parser.add_argument('--noise', type=float, default=NOISE_STD, metavar='STD',
                        help='standard deviation of the noise (default: %(default)s)')
    arguments = parser.parse_args()

    def load(part: str) -> Any:
        return load_part(next(
            file for file in reversed(arguments.files) if holds(file, part)), part)[0]
    tokenizer, world = load('tokenizer'), load('world')
    heads = HeadLoss(arguments.run / 'heads.safetensors', tokenizer.grid).eval()
    for name, clips in STORES.items():
        score(FeatureStore(arguments.run / name), clips, tokenizer, world, heads,
              arguments.noise)
    if arguments.pasts:
        score_pasts(arguments.run, arguments.pasts, tokenizer, world, arguments.noise)


if __name__ == '__main__':
    main()
