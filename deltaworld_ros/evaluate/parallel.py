# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score many recordings at once, in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.worker import BagWorker, WorkerSetup

_worker: BagWorker | None = None


def number_of_workers(jobs: int, bags: int) -> int:
    """Return how many processes to use; 0 asks for one a core, at most one a recording."""
    return max(1, min(jobs or os.cpu_count() or 1, bags))


def score_in_processes(setup: WorkerSetup, sources: Sequence[str], workers: int,
                       ) -> Iterator[BagScores]:
    """
    Yield the scores of recordings in their order, equal to those of one process.

    The cores are shared out, unless the setup names a number of threads.
    """
    setup = _share_cores(setup, workers)
    # A fork would copy the threads' locks of whatever the parent has loaded.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _start, (setup,)) as pool:
        try:
            yield from _start_scoring(pool, sources)
        except (KeyboardInterrupt, SystemExit):
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        except BrokenProcessPool:
            raise UserError('a process that scored bags ended: it had too little memory, or its '
                            'engine could not start; --jobs 1 shows which') from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_scoring(pool: ProcessPoolExecutor, sources: Sequence[str]) -> Iterator[BagScores]:
    """Hand out the recordings; a terminal's Ctrl-C is left to this process alone."""
    if threading.current_thread() is not threading.main_thread():
        return pool.map(_score, sources)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)   # the new processes inherit that
    try:
        return pool.map(_score, sources)
    finally:
        signal.signal(signal.SIGINT, handler)


def score_on_ray(setup: WorkerSetup, sources: Sequence[str], address: str, workers: int,
                 ) -> Iterator[BagScores]:
    """
    Yield the scores of recordings in their order, from actors on a Ray cluster.

    `address` is the cluster's, or `local` for one on this machine while this runs. The bundle and
    the recordings must be at the same path, or at an address, on every machine.
    """
    # Ray reports its use to its makers unless told not to.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        import ray
        from ray.util import ActorPool
    except ImportError:
        raise UserError('--ray needs Ray: pip install "ray>=2.9"') from None
    local: dict[str, Any] = {}
    if address == 'local':
        local = {'num_cpus': workers, 'include_dashboard': False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level='error', **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f'--ray {address}: {" ".join(str(error).split())[:300]}') from None
    try:
        actors = [ray.remote(BagWorker).remote(_share_cores(setup, workers))
                  for _ in range(workers)]
        pool = ActorPool(actors)
        yield from pool.map(_score_remotely, list(sources))
    finally:
        ray.shutdown()


def _score_remotely(actor: Any, source: str) -> Any:
    return actor.score.remote(source)


def _share_cores(setup: WorkerSetup, workers: int) -> WorkerSetup:
    if setup.threads:
        return setup
    return dataclasses.replace(setup, threads=max(1, (os.cpu_count() or 1) // workers))


def _start(setup: WorkerSetup) -> None:
    global _worker
    _worker = BagWorker(setup)


def _score(source: str) -> BagScores:
    assert _worker is not None
    return _worker.score(source)
