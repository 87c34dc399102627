# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score a list of recordings with a progress bar: here, in processes or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.progress import Progress, TaskID

from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.parallel import (
    number_of_workers,
    score_in_processes,
    score_on_ray,
)
from deltaworld_ros.evaluate.worker import BagWorker, WorkerSetup, name_of


def score_bags(setup: WorkerSetup, sources: Sequence[str], bar: Progress, *, jobs: int = 0,
               ray: str | None = None, log: Callable[[str], None]) -> list[BagScores]:
    """
    Return the scores of recordings in their order; the same whichever way they are scored.

    `jobs` processes share the cores (0: one a core); one recording is scored in this process.
    `ray` is the address of a cluster, or `local`.
    """
    workers = number_of_workers(jobs, len(sources))
    if ray is None and workers == 1:
        return _score_here(setup, sources, bar, log)
    task = bar.add_task(f'{len(sources)} bags', total=len(sources))
    found = (score_in_processes(setup, sources, workers) if ray is None else
             score_on_ray(setup, sources, ray, workers))
    scores = []
    for one in found:
        scores.append(one)
        bar.advance(task)
    return scores


def _score_here(setup: WorkerSetup, sources: Sequence[str], bar: Progress,
                log: Callable[[str], None]) -> list[BagScores]:
    worker = BagWorker(setup, log)
    scores = []
    try:
        for source in sources:
            task = bar.add_task(name_of(source), total=None)

            def advance(count: int | None, task: TaskID = task) -> None:
                if count is None:
                    bar.advance(task)
                else:
                    bar.update(task, total=count)
            scores.append(worker.score(source, advance))
    finally:
        worker.close()
    return scores
