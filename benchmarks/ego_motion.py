# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what it is worth to a predictor to be told the ego's motion, on the street world.

Run as `python benchmarks/ego_motion.py RUN OUTPUT --seeds 7 8` on a RUN of the recipe street-cpu
that has its features, those for validation, and its heads and tokenizer. Two predictors are
trained for each seed on the tokens of RUN's tokenizer, with equal steps: one that can be told the
motion, and one that cannot. Both are scored on worlds of no training, by the mean token of their
samples 0.6 s ahead. The motion of RUN's clips is simulated again, and kept with copies of RUN's
features in OUTPUT. `--stores street videos --clips 1000 --steps 400` is a short trial.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from validation_scores import CONTEXT, SAMPLES, STEPS, Row

from deltaworld_ros.model.protocols import takes_motion
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.data.feature_store import MOTION, FeatureStore
from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.runs.recipe import Recipe, load_recipe
from deltaworld_training.runs.recipe_sources import calibration_sources, clip_sources
from deltaworld_training.runs.stage import run_stage
from deltaworld_training.stages.head_loss import HeadLoss
from deltaworld_training.stages.joint import decode_all
from deltaworld_training.stages.parts import load_part
from deltaworld_training.stages.predictor import NOISE_STD
from deltaworld_training.stages.told_motion import as_told

TRAINING, VALIDATION = ('street', 'junctions', 'videos'), 'calibration_street'
# The motion that a kind of forecast is told, of the context and of the leads.
TOLD = {'told all': (True, True), 'told the past': (True, False), 'told nothing': (False, False)}
STARTS = (0, 1, 2, 3)
# Within 0.6 s the ego changes its speed (m/s) or its heading (rad) by more than this: it acts.
SPEED_CHANGE, HEADING_CHANGE = 1.0, 0.1


def copy_stores(recipe: Recipe, run: Path, output: Path, stores: list[str], clips: int) -> None:
    """Copy the first clips of a run's stores, with the motion of those that are simulated."""
    recipe.data.calibration_videos, recipe.data.video_clips = [], 0   # type: ignore[union-attr]
    sources = clip_sources(recipe, None) | calibration_sources(recipe, None)
    for name in (VALIDATION, *stores):
        folder, store = output / name, FeatureStore(run / name)
        folder.mkdir(parents=True, exist_ok=True)
        for array in ('features', 'times', 'labels', 'depth', 'done'):
            if not (folder / f'{array}.npy').exists():
                np.save(folder / f'{array}.npy', getattr(store, array)[:clips])
        source = sources.get(name)
        if isinstance(source, StreetClips) and not (folder / MOTION).exists():
            np.save(folder / MOTION, np.stack([
                source.motion(index) for index in track(
                    range(min(clips, len(source))), description=f'Simulating {name}')]))


def train(
    run: Path, output: Path, stores: list[str], motion: bool, seed: int, steps: int,
) -> Path:
    """Train one predictor and return its file."""
    recipe = load_recipe('street-motion' if motion else 'street-cpu')
    recipe.seed = seed
    stage = recipe.stages['predictor']
    stage.trainer['max_steps'] = steps
    weights = dict(zip(TRAINING, stage.data['init_args']['weights'], strict=True))
    stage.data['init_args'] |= {
        'folders': [str(output / name) for name in stores],
        'weights': [weights[name] for name in stores],
        'tokenizer': str(run / 'tokenizer.safetensors')}
    return run_stage(
        recipe, 'predictor', output / f'{"with" if motion else "without"}-motion-{seed}')


class Scores:
    """The feature error, relative to copying the last frame, and the maps of one forecast."""

    def __init__(self) -> None:
        self.error = self.copied = 0.0
        self.maps = Row()

    def add(
        self, found: Tensor, now: Tensor, then: Tensor, heads: HeadLoss, labels: np.ndarray,
        depth: np.ndarray,
    ) -> None:
        """Compare features (n, N, D) with those of the true frame, and what heads read."""
        if not len(found):
            return
        self.error += float((found - then).square().mean((1, 2)).sum())
        self.copied += float((now - then).square().mean((1, 2)).sum())
        self.maps.add(heads.read(found, labels.shape[-2:]), labels, depth)

    def __str__(self) -> str:
        """Return the figures in one line."""
        return f'feature error {self.error / self.copied:.3f}, {self.maps}'


@torch.no_grad()
def score(
    store: FeatureStore, tokenizer: Any, worlds: dict[str, Any], heads: HeadLoss,
) -> None:
    """Print the figures of each way of forecasting, over all windows and where the ego acts."""
    rows: dict[tuple[str, str], Scores] = defaultdict(Scores)
    generator = torch.Generator().manual_seed(0)
    counted: dict[str, int] = defaultdict(int)
    for clip in track(store.clips, description='Scoring'):
        frames = [slice(start, start + CONTEXT + STEPS) for start in STARTS]

        def take(array: np.ndarray, clip: int = clip, frames: Any = frames) -> Tensor:
            return torch.from_numpy(np.stack([array[clip, one] for one in frames]))
        features, times, motion = (
            take(store.features).float(), take(store.times), take(store.motion))
        labels = take(store.labels).numpy()[:, -1]
        depth = take(store.depth).float().numpy()[:, -1]
        count, now, then = len(features), features[:, CONTEXT - 1], features[:, -1]
        deltas = tokenizer.encode(
            features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1)).unflatten(
                0, (count, -1))
        tokens = torch.cat([
            tokenizer.encode_anchor(features[:, 0])[:, None], deltas[:, :CONTEXT - 1]], 1)
        table = time_table(times - times[:, CONTEXT - 1:CONTEXT], time_frequencies())
        ahead = motion[:, CONTEXT:]
        passed = times[:, CONTEXT:] - times[:, CONTEXT - 1:-1]
        acts = ((ahead[:, -1, 0] - motion[:, CONTEXT - 1, 0]).abs() > SPEED_CHANGE) | (
            (ahead[..., 1] * passed).sum(1).abs() > HEADING_CHANGE)
        found = {'copy-last': now, 'true tokens': decode_all(
            tokenizer, deltas[:, CONTEXT - 1:], now)[:, -1]}
        noise = NOISE_STD * torch.randn(
            count, SAMPLES, 1, next(iter(worlds.values())).noise_size, generator=generator)
        for name, world in worlds.items():
            for told, (past, plan) in TOLD.items() if takes_motion(world) else [('', (0, 0))]:
                flags = torch.tensor([past] * CONTEXT + [plan] * STEPS).expand(count, -1)
                given = [as_told(motion, flags)] if told else []
                future = world.rollout(
                    tokens, table, noise.expand(-1, -1, STEPS, -1), *given)
                found[f'{name}, {told}' if told else name] = decode_all(
                    tokenizer, future.mean(1), now)[:, -1]
        for part, chosen in (('all', torch.ones(count, dtype=torch.bool)), ('ego acts', acts)):
            counted[part] += int(chosen.sum())
            for name, decoded in found.items():
                rows[part, name].add(
                    decoded[chosen], now[chosen], then[chosen], heads, labels[chosen.numpy()],
                    depth[chosen.numpy()])
    for (part, name), row in rows.items():
        print(f'{part} ({counted[part]} windows), {name}: {row}')


def main() -> None:
    """Read the arguments, train the predictors and score them."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of a run of the recipe street-cpu')
    parser.add_argument('output', type=Path, help='folder for the motion and the predictors')
    parser.add_argument('--heads', type=Path, help='file of the heads, default: that of RUN')
    parser.add_argument('--seeds', type=int, nargs='+', default=[7, 8])
    parser.add_argument('--steps', type=int, default=1200, help='of each predictor')
    parser.add_argument('--stores', nargs='+', choices=TRAINING, default=list(TRAINING))
    parser.add_argument('--clips', type=int, default=1_000_000, help='of each store at most')
    parser.add_argument('--prepare', action='store_true', help='only simulate the motion')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    copy_stores(load_recipe('street-cpu'), arguments.run, arguments.output, arguments.stores,
                arguments.clips)
    if arguments.prepare:
        return
    store = FeatureStore(arguments.output / VALIDATION)
    tokenizer: Any = load_part(arguments.run / 'tokenizer.safetensors', 'tokenizer')[0]
    heads = HeadLoss(
        arguments.heads or arguments.run / 'heads.safetensors', tokenizer.grid).eval()
    for seed in arguments.seeds:
        worlds = {
            f'{"with" if motion else "without"} motion, seed {seed}': load_part(train(
                arguments.run, arguments.output, arguments.stores, motion, seed,
                arguments.steps), 'world')[0]
            for motion in (False, True)}
        score(store, tokenizer, worlds, heads)


if __name__ == '__main__':
    main()
