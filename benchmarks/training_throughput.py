# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the input pipeline of training: how fast data loads, and how long each stage waits.

Sources are the street world rendered live, the sample bag (JPEG), shards of the street world and
cached features (random values, of the real sizes). First each is loaded as fast as it can be;
then each stage of the recipe `street-cpu` trains on it, with untrained weights, and the time
between the end of one batch and the start of the next counts as waiting.

    python benchmarks/training_throughput.py --json throughput.json
    python benchmarks/training_throughput.py --sources street bag --stages tokenizer --workers 2
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from deltaworld_ros.model.networks import build_networks
from deltaworld_training.data.clip_data import ClipData
from deltaworld_training.data.feature_data import FeatureData
from deltaworld_training.data.feature_store import Windows
from deltaworld_training.data.loader import PREFETCH, default_workers
from deltaworld_training.data.open_source import Drawing, SourceSettings, open_source
from deltaworld_training.data.shards import ShardWriter
from deltaworld_training.runs.bundle_manifest import network_sizes
from deltaworld_training.runs.recipe import load_recipe
from deltaworld_training.stages.heads import HeadsStage
from deltaworld_training.stages.parts import frozen
from deltaworld_training.stages.predictor import PredictorStage
from deltaworld_training.stages.tokenizer import TokenizerStage

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / 'deltaworld_ros' / 'sample' / 'highway'
SOURCES = ('street', 'bag', 'shards', 'features')
STAGES = ('tokenizer', 'predictor', 'heads')
RECIPE = load_recipe('street-cpu')
FRAMES, STORED_FRAMES, STRIDE = 7, 10, 0.2
SIZE, FOCAL_LENGTH = (320, 192), 240.0
SHARD_CLIPS, STORED_CLIPS = 32, 500
WARM_UP = 1
# Shorter runs would live on what the workers had ready, and hide that they are too slow.
MIN_BATCHES = 3 * PREFETCH * max(1, default_workers(None))


class Waiting(lightning.Callback):
    """Time the batches after the first few, and what passes between them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.batches = 0
        self.waited = self.started = self.ended = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        now = time.perf_counter()
        if self.batches == WARM_UP:
            self.started = self.ended
        if self.batches >= WARM_UP:
            self.waited += now - self.ended

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.batches += 1
        self.ended = time.perf_counter()
        if self.batches > WARM_UP + MIN_BATCHES and self.ended - self.started > self.seconds:
            trainer.should_stop = True


def data_of(name: str, batch: int, workers: int | None, folder: Path) -> Any:
    """Return the data module of a source; what is on disk is made once."""
    common: Any = {'frames': FRAMES, 'stride': STRIDE, 'truth': True,
                   'focal_length': FOCAL_LENGTH, 'workers': workers}
    street = SourceSettings('street')
    if name == 'street':
        return ClipData([street], batch, SIZE, **common)
    if name == 'bag':
        return ClipData([SourceSettings('bags', str(SAMPLE))], batch, SIZE, **common)
    if name == 'shards':
        few = SourceSettings('street', options={'clips': SHARD_CLIPS})
        ShardWriter(str(folder / 'shards'), clips_per_shard=8).write(
            open_source(few, Drawing(SIZE, FRAMES, STRIDE, 0)), {},
            len(os.sched_getaffinity(0)))
        return ClipData([SourceSettings('shards', str(folder / 'shards'))], batch, SIZE, **common)
    windows = Windows(stored_arrays(folder), np.arange(STORED_CLIPS), FRAMES)
    return FeatureData([windows], [1.0], batch)


def stored_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Write arrays as a feature store has them, and open them as memory maps."""
    rows, columns = RECIPE.grid
    generator = np.random.default_rng(0)
    size = network_sizes(RECIPE)['backbone']['feature_size']
    clip = generator.standard_normal((STORED_FRAMES, rows * columns, size)).astype(np.float16)
    maps = (STORED_CLIPS, STORED_FRAMES, 4 * rows, 4 * columns)
    made = {
        'features': lambda: np.broadcast_to(clip, (STORED_CLIPS, *clip.shape)),
        'times': lambda: np.tile(0.2 * np.arange(STORED_FRAMES), (STORED_CLIPS, 1)),
        'labels': lambda: np.zeros(maps, np.uint8),
        'depth': lambda: np.full(maps, 10.0, np.float16),
    }
    for name, make in made.items():
        if not (folder / f'{name}.npy').exists():
            np.save(folder / f'{name}.npy', make())
    return {name: np.load(folder / f'{name}.npy', mmap_mode='r') for name in made}


def stage_of(name: str) -> lightning.LightningModule:
    """Return a stage with the sizes of the recipe and untrained networks before it."""
    sizes = network_sizes(RECIPE)
    networks = build_networks(sizes)
    stage: Any
    if name == 'tokenizer':
        stage = TokenizerStage(sizes['tokenizer'], 'relative', 'decoded', rate=1e-4)
    elif name == 'predictor':
        stage = PredictorStage(
            sizes['world'], objective='rollout', queries='kept', loss='energy', rate=1e-4,
            candidates=RECIPE.settings('predictor').model['candidates'])
        stage.tokenizer = frozen(networks.parts()['tokenizer'])
    else:
        stage = HeadsStage(
            RECIPE.grid, sizes['segmentation'], sizes['depth'], 'scale_free', rate=1e-4)
    stage.backbone = frozen(networks.parts()['backbone'])
    return stage


def loading(data: Any, seconds: float) -> dict[str, float]:
    """Load batches for some seconds and return clips and frames a second."""
    data.setup('fit')
    batches = iter(data.train_dataloader())
    # The workers' start and the first batch of each are not the rate.
    for _ in range(WARM_UP + default_workers(None)):
        next(batches)
    started, clips = time.perf_counter(), 0
    while clips == 0 or time.perf_counter() - started < seconds:
        clips += len(next(batches)['times'])
    rate = clips / (time.perf_counter() - started)
    return {'clips_per_s': rate, 'frames_per_s': rate * FRAMES}


def training(name: str, data: Any, seconds: float, precision: Any) -> dict[str, float]:
    """Train a stage for some seconds and return clips a second and the share of waiting."""
    waiting = Waiting(seconds)
    trainer = lightning.Trainer(
        max_steps=100_000, accelerator='auto', devices=1, precision=precision, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[waiting])
    trainer.fit(stage_of(name), data)
    took = waiting.ended - waiting.started
    return {'clips_per_s': (waiting.batches - WARM_UP) * data.batch / took,
            'waiting': waiting.waited / took}


@contextmanager
def load_of_machine(figures: dict[str, float]) -> Iterator[None]:
    """Add the share of the cores that other processes took meanwhile."""
    def busy() -> float:
        fields = [int(n) for n in Path('/proc/stat').read_text().split('\n')[0].split()[1:]]
        return (sum(fields) - fields[3] - fields[4]) / os.sysconf('SC_CLK_TCK')

    def own() -> float:
        times = os.times()
        return sum(times[:4])
    before, own_before, started = busy(), own(), time.perf_counter()
    yield
    took = (time.perf_counter() - started) * (os.cpu_count() or 1)
    figures['others'] = max(0.0, busy() - before - own() + own_before) / took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n\n')[0])
    parser.add_argument('--sources', nargs='+', choices=SOURCES, default=SOURCES)
    parser.add_argument('--stages', nargs='*', choices=STAGES, default=STAGES)
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--batch', type=int, default=8, help='clips a step')
    parser.add_argument('--workers', type=int, help="processes; default: the modules' own")
    parser.add_argument('--precision', help='of training; default: bf16-mixed on a GPU, else 32',
                        default='bf16-mixed' if torch.cuda.is_available() else '32-true')
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.getLogger('lightning').setLevel(logging.ERROR)
    console = Console()
    table = Table('source', 'stage', 'clips/s', 'frames/s', 'waiting', "others' share of the CPU")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for source in options.sources:
            for stage in ('none', *options.stages):
                data = data_of(source, options.batch, options.workers, Path(folder))
                figures: dict[str, float] = {}
                with load_of_machine(figures):
                    figures.update(loading(data, options.seconds) if stage == 'none'
                                   else training(stage, data, options.seconds, options.precision))
                rows.append({'source': source, 'stage': stage, **figures})
                waiting = f'{figures["waiting"]:.1%}' if 'waiting' in figures else ''
                table.add_row(source, stage, f'{figures["clips_per_s"]:.2f}',
                              f'{figures["clips_per_s"] * FRAMES:.1f}', waiting,
                              f'{figures["others"]:.0%}')
                print(source, stage, figures, file=sys.stderr, flush=True)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({
            'cores': os.cpu_count(), 'device': 'cuda' if torch.cuda.is_available() else 'cpu',
            'precision': options.precision, 'batch': options.batch, 'frames': FRAMES,
            'size': SIZE, 'workers': options.workers, 'rows': rows}, indent=1))


if __name__ == '__main__':
    main()
