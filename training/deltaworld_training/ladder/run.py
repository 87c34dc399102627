# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train and score every row of the ladder; each part is kept on disk and not done twice."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.cost import forecast_cost
from deltaworld_training.ladder.data import LadderData, make_data
from deltaworld_training.ladder.evaluation import Evaluator, Futures, copy_last, oracle
from deltaworld_training.ladder.figure import draw_ladder, draw_scaling
from deltaworld_training.ladder.forecaster import RowForecaster
from deltaworld_training.ladder.rows import DELTAWORLD, ROWS, Row
from deltaworld_training.ladder.settings import LadderSettings
from deltaworld_training.ladder.table import ladder_tables
from deltaworld_training.ladder.tokens import decode_tokens, encode_frames
from deltaworld_training.ladder.training import (
    load_frozen,
    measured,
    train_heads,
    train_tokenizer,
    train_world,
)
from deltaworld_training.ladder.true_futures import TruePasts

NOISE_SEED = 0


@dataclass
class LadderRun:
    """A folder in which the ladder is trained and scored."""

    settings: LadderSettings
    folder: Path
    seeds: int
    rows: tuple[Row, ...] = ROWS
    console: Console = field(
        default_factory=lambda: Console(markup=False, emoji=False))

    def __post_init__(self) -> None:
        """Refuse a folder that holds a ladder with other settings."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / 'settings.json'
        present = self.settings.values()
        if path.exists() and json.loads(path.read_text(encoding='utf-8')) != present:
            raise UserError(
                f'{self.folder}: holds a ladder with other settings; give another --output')
        write_whole(path, json.dumps(present, indent=2))
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

    def run(self) -> dict[str, Any]:
        """Do everything that is not done yet and return all figures."""
        data = make_data(self.settings, self.folder)
        heads = self.folder / 'heads.safetensors'
        train_heads(self.settings, data, heads)
        evaluator = Evaluator(
            self.settings, data.test, load_frozen(heads, 'segmentation'),
            load_frozen(heads, 'depth'), self.device)
        ways = {'copy_last': copy_last, 'oracle': oracle}
        bounds = {
            name: self._once(
                self.folder / f'{name}.json', partial(evaluator.score, way, [1]))['1']
            for name, way in ways.items()
        }
        pasts = TruePasts(self.settings, self.folder / 'true_futures', data.extractor)
        rows = {
            row.key: [self._row(data, evaluator, pasts, row, seed) for seed in range(self.seeds)]
            for row in self.rows
        }
        if self.settings.diversity_pasts:
            bounds['copy_last']['diversity'] = self._once(
                self.folder / 'copy_last_diversity.json', partial(pasts.score, None))
        return {
            'budget': self.settings.values(), 'seeds': self.seeds,
            'device': torch.cuda.get_device_name() if self.device.type == 'cuda' else 'CPU',
            'test_clips': len(data.test.clips), 'train_clips': len(data.train.clips),
            'bounds': bounds, 'rows': rows,
            'scaling': self._scaling(data, evaluator) if DELTAWORLD in self.rows else [],
        }

    def _row(
        self, data: LadderData, evaluator: Evaluator, pasts: TruePasts, row: Row, seed: int,
    ) -> dict[str, Any]:
        """Train and score one row with one seed."""
        s = self.settings
        tokenizer, world = self._tokenizer(row, seed), self._world(row, seed)
        if row.tokenizer is not None and tokenizer is not None:
            train_tokenizer(s, data, row.tokenizer, seed, tokenizer)
        train_world(s, data, row, seed, s.candidates, tokenizer, world)

        def score() -> dict[str, Any]:
            self.console.print(f'Scoring {row.title}, seed {seed}')
            forecaster = self._forecaster(row, seed, world)
            count = 1 if row.learned_query else s.samples
            result = {'forecast': evaluator.score(
                self._futures(forecaster, count), [count])[str(count)]}
            if forecaster.tokenizer is not None:
                result['reconstruction'] = evaluator.score(
                    reconstruct_with(forecaster), [1])['1']
            result['gflops'] = forecast_cost(
                load_frozen(data.backbone, 'backbone'), forecaster.tokenizer,
                forecaster.world, (s.image.height, s.image.width), s.context, s.steps,
                count).report()
            return result
        scores = self._once(world.with_name('scores.json'), score)
        if s.diversity_pasts:
            scores['diversity'] = self._once(
                world.with_name('diversity.json'),
                lambda: pasts.score(self._forecaster(row, seed, world)))
        return {
            'seed': seed, **scores, 'training': measured(world),
            'tokenizer_training': measured(tokenizer) if tokenizer else None,
        }

    def _scaling(self, data: LadderData, evaluator: Evaluator) -> list[dict[str, Any]]:
        """Train DeltaWorld with several numbers of candidates and score several of samples."""
        s, results = self.settings, []
        tokenizer = self._tokenizer(DELTAWORLD, 0)
        counts = s.scaling.evaluation
        for candidates in s.scaling.training:
            world = self.folder / 'scaling' / f'k{candidates}' / 'world.safetensors'
            if candidates == s.candidates:
                world = self._world(DELTAWORLD, 0)
            train_world(s, data, DELTAWORLD, 0, candidates, tokenizer, world)

            def score(world: Path = world) -> dict[str, Any]:
                self.console.print(f'Scoring {world.parent.name}')
                forecaster = self._forecaster(DELTAWORLD, 0, world)
                return evaluator.score(self._futures(forecaster, max(counts)), counts)
            results.append({
                'candidates': candidates, 'training': measured(world),
                'scores': self._once(world.with_name('scaling.json'), score)})
        return results

    def _forecaster(self, row: Row, seed: int, world: Path) -> RowForecaster:
        tokenizer = self._tokenizer(row, seed)
        return RowForecaster(
            row, load_frozen(tokenizer, 'tokenizer').to(self.device) if tokenizer else None,
            load_frozen(world, 'world').to(self.device), self.settings.grid)

    def _futures(self, forecaster: RowForecaster, samples: int) -> Futures:
        """Sample with the same noise for every row that draws as much of it."""
        generator = torch.Generator().manual_seed(NOISE_SEED)

        def futures(past: Tensor, times: Tensor, true: Tensor) -> Tensor:
            return forecaster.futures(past, times, samples, generator)
        return futures

    def _tokenizer(self, row: Row, seed: int) -> Path | None:
        if row.tokenizer is None:
            return None
        return self.folder / f'seed{seed}' / f'tokenizer-{row.tokenizer.name}.safetensors'

    def _world(self, row: Row, seed: int) -> Path:
        return self.folder / f'seed{seed}' / row.key / 'world.safetensors'

    @staticmethod
    def _once(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what the file holds, computed and written the first time."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(compute(), indent=2))
        result: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        return result


def reconstruct_with(forecaster: RowForecaster) -> Futures:
    """Return the futures that decoding the tokens of the true frames gives."""
    own = forecaster.row.own

    def futures(past: Tensor, times: Tensor, true: Tensor) -> Tensor:
        _, current = encode_frames(forecaster.tokenizer, past, own)
        tokens, _ = encode_frames(forecaster.tokenizer, torch.cat([past, true], dim=1), own)
        return decode_tokens(
            forecaster.tokenizer, tokens[:, past.shape[1]:], current)[:, None]
    return futures


def write_report(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write ladder.json, ladder.md, ladder.png and scaling.png; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ['ladder.json', 'ladder.md', 'ladder.png']
    paths = [folder / name for name in (names + ['scaling.png'] if result['scaling'] else names)]
    write_whole(paths[0], json.dumps(result, indent=2) + '\n')
    write_whole(paths[1], ladder_tables(result))
    draw_ladder(result, paths[2])
    if result['scaling']:
        draw_scaling(result, paths[3])
    return paths
