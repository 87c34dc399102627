# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score recordings one after another with one engine, in this process or in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.bag_list import local_copy
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.drive import DriveReport, Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.evaluate.forecast_bag import ForecastBag


@dataclass(frozen=True)
class WorkerSetup:
    """
    What every worker needs to know; `topics` and `rectified` are what `BagFrames` is told.

    `write_bag` is a folder for a bag of forecasts of each recording.
    """

    bundle: str
    engine: str = 'auto'
    threads: int = 0
    topics: dict[str, str | None] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    moments: int = 0
    write_bag: str | None = None
    rectified: str = 'auto'


class BagWorker:
    """Holds one engine; used by one thread."""

    def __init__(self, setup: WorkerSetup, log: Callable[[str], None] = lambda line: None) -> None:
        self._setup = setup
        bundle = load_bundle(setup.bundle)
        self._classes = bundle.manifest.classes
        self._engine = load_engine(
            bundle, setup.engine, setup.threads, log=log, apart_first=True)
        self._evaluator = Evaluator(
            self._engine, bundle, setup.options, moments=setup.moments)

    def score(self, source: str, progress: Callable[[int | None], None] = lambda count: None,
              ) -> BagScores:
        """
        Score a recording; a mistake in it becomes the `error` of empty scores.

        `progress` is called with the number of its images, then with None for each of them.
        """
        try:
            with local_copy(source) as path, self._open(path) as bag, \
                    self._forecast_bag(source) as forecasts:
                progress(bag.count)
                scores = self._evaluator.run(bag, lambda: progress(None), forecasts)
                scores.report.path = source
                return scores
        except UserError as error:
            return _failed(source, str(error))
        # Nothing that is wrong with one recording may lose the scores of the others.
        except Exception as error:
            reason = ' '.join(str(error).split())[:200]
            return _failed(source, f'{source}: {type(error).__name__}: {reason}')

    def _open(self, path: Path) -> BagFrames:
        return BagFrames(path, rectified=self._setup.rectified, **self._setup.topics)

    def _forecast_bag(self, source: str) -> AbstractContextManager[ForecastBag | None]:
        folder = self._setup.write_bag
        if folder is None:
            return nullcontext()
        return ForecastBag(_forecasts_of(source, folder), self._classes)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def check_forecast_bags(sources: Sequence[str], folder: str) -> None:
    """Raise `UserError` where a bag of forecasts is there already, or two would be one."""
    for path, count in Counter(_forecasts_of(source, folder) for source in sources).items():
        if count > 1:
            raise UserError(f'{path}: would be written for {count} recordings of that name; '
                            'score them apart or rename them')
        if path.exists():
            raise UserError(f'{path}: is there already; give --write-bag another folder')


def _forecasts_of(source: str, folder: str) -> Path:
    return Path(folder) / f'{Path(name_of(source)).stem}_forecasts'


def _failed(source: str, error: str) -> BagScores:
    failed = BagScores(DriveReport(source, {}), {})
    failed.error = error
    return failed


def name_of(source: str) -> str:
    """Return the last part of a path or an address."""
    return Path(source.rstrip('/')).name
