# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The loader of both data modules: one mixture of sources, resumed at the trainer's step."""

import os
from collections.abc import Sequence
from typing import Any

import lightning
from torch.utils.data import DataLoader

from deltaworld_training.data.batches import Batches
from deltaworld_training.data.sampler import Mixture, StepSampler
from deltaworld_training.data.worker import start_worker

# Batches that each worker holds ready; clips differ in how long they take.
PREFETCH = 4


def batch_loader(
    sources: Sequence[Any], weights: Sequence[float], batch: int, seed: int, workers: int,
    trainer: lightning.Trainer | None,
) -> DataLoader:
    """
    Load the batches of this rank from the trainer's present step on, without end.

    `batch` is the global batch of one optimiser step. Build the Trainer with
    `use_distributed_sampler=False`: the sampler divides the batches among the ranks itself.
    """
    mixture = Mixture([len(source) for source in sources], weights, seed)
    if trainer is None:
        sampler = StepSampler(mixture, batch)
    else:
        sampler = StepSampler(
            mixture, batch, trainer.global_rank, trainer.world_size,
            trainer.accumulate_grad_batches, trainer.global_step)
    # Spawned: a fork would inherit the locks of torch, OpenCV and the GL driver.
    return DataLoader(
        Batches(sources), sampler=sampler, batch_size=None, num_workers=workers,
        multiprocessing_context='spawn' if workers else None,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=trainer is not None and trainer.strategy.root_device.type == 'cuda',
        worker_init_fn=start_worker)


def default_workers(trainer: lightning.Trainer | None) -> int:
    """Return this process's share of the cores, less the one that it runs on itself."""
    processes = 1 if trainer is None else max(1, trainer.num_devices)
    return max(0, len(os.sched_getaffinity(0)) // processes - 1)
