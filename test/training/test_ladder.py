# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ladder end to end on its smallest budget, and its parts."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.spatial_world import SpatialWorld
from deltaworld_training.cli import app
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.ladder.evaluation import Evaluator, copy_last, oracle
from deltaworld_training.ladder.rows import ROWS, choose_rows
from deltaworld_training.ladder.run import LadderRun
from deltaworld_training.ladder.settings import load_budget
from deltaworld_training.ladder.table import ladder_tables
from deltaworld_training.ladder.tokens import decode_tokens, encode_frames
from deltaworld_training.ladder.training import load_frozen
from deltaworld_training.ladder.verdict import observations, verdicts
from deltaworld_training.stages.spatial_predictor import SpatialPredictorStage
from deltaworld_training.street.world import TEST_SEEDS, TRAIN_SEEDS


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the smoke budget once with one seed."""
    folder = tmp_path_factory.mktemp('ladder')
    result = CliRunner().invoke(app, [
        'ladder', '--budget', 'smoke', '--seeds', '1', '--output', str(folder), '--report',
        str(folder / 'report')])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope='module')
def result(folder: Path) -> dict:
    """Return what the command wrote as JSON."""
    return json.loads((folder / 'report' / 'ladder.json').read_text())


def test_every_row_is_trained_and_scored(folder: Path, result: dict) -> None:
    """Each row has its own weights, its scores at both horizons and what it cost."""
    steps = result['budget']['predictor_learning']['steps']
    assert list(result['rows']) == [row.key for row in ROWS]
    worlds = []
    for row in ROWS:
        [run] = result['rows'][row.key]
        for horizon in ('short', 'mid'):
            for kind in ('best', 'mean'):
                scores = run['forecast'][horizon][kind]
                assert 0.0 <= scores['miou'] <= 1.0 and scores['depth_rmse'] > 0.0
            errors = [run['forecast'][horizon][kind]['feature_error'] for kind in ('best', 'mean')]
            assert (errors[0] == pytest.approx(errors[1])) == row.learned_query
        assert run['gflops']['total'] > 0.0
        assert run['training']['steps'] == steps and run['training']['seconds'] > 0.0
        assert ('reconstruction' in run) == (row.tokenizer is not None)
        assert 0.0 <= run['diversity']['coverage'] <= 1.0
        world = load_frozen(folder / 'seed0' / row.key / 'world.safetensors', 'world')
        worlds.append(torch.cat([p.flatten() for p in world.parameters()]))
    same = [len(a) == len(b) and bool(torch.equal(a, b))
            for i, a in enumerate(worlds) for b in worlds[:i]]
    assert not any(same)


def test_bounds_come_from_the_true_labels(folder: Path, result: dict) -> None:
    """Copy-last has the feature error one and the oracle zero; both are scored again alike."""
    bounds = result['bounds']
    assert bounds['copy_last']['mid']['best']['feature_error'] == pytest.approx(1.0)
    assert bounds['oracle']['mid']['best']['feature_error'] == 0.0
    evaluator = Evaluator(
        load_budget('smoke'), FeatureStore(folder / 'test'),
        load_frozen(folder / 'heads.safetensors', 'segmentation'),
        load_frozen(folder / 'heads.safetensors', 'depth'), torch.device('cpu'))
    for name, way in (('copy_last', copy_last), ('oracle', oracle)):
        again = evaluator.score(way, [1])['1']
        assert again['mid']['best']['miou'] == pytest.approx(bounds[name]['mid']['best']['miou'])


def test_best_is_the_sample_nearest_to_the_truth(folder: Path) -> None:
    """With the truth among the samples the best is the oracle, and the mean lies between."""
    evaluator = Evaluator(
        load_budget('smoke'), FeatureStore(folder / 'test'),
        load_frozen(folder / 'heads.safetensors', 'segmentation'),
        load_frozen(folder / 'heads.safetensors', 'depth'), torch.device('cpu'))
    scores = evaluator.score(lambda past, times, true: torch.cat(
        [copy_last(past, times, true), oracle(past, times, true)], dim=1), [1, 2])
    assert scores['1']['mid']['best']['feature_error'] == pytest.approx(1.0)
    assert scores['2']['mid']['best']['feature_error'] == 0.0
    assert scores['2']['mid']['mean']['feature_error'] == pytest.approx(0.25)


def test_report_shows_the_numbers_of_the_run(folder: Path, result: dict) -> None:
    """The Markdown has every row with its score, and both figures are pictures."""
    text = (folder / 'report' / 'ladder.md').read_text()
    assert text == ladder_tables(result)
    for row in ROWS:
        best = result['rows'][row.key][0]['forecast']['mid']['best']['miou']
        [line] = [line for line in text.splitlines() if line.startswith(f'| {row.title} | 0 ')]
        assert f'{best:.3f}' in line
    assert len(verdicts(result)) == 10
    for name in ('ladder.png', 'scaling.png'):
        with Image.open(folder / 'report' / name) as picture:
            assert np.asarray(picture.convert('L')).std() > 10.0


def test_verdicts_follow_the_figures(result: dict) -> None:
    """A claim shows only where every seed agrees with it."""
    changed = copy.deepcopy(result)
    rows = changed['rows']
    for key in ('delta-token', 'frame-token'):
        rows[key] = [copy.deepcopy(rows[key][0]) for _ in range(2)]
    for key, values in (('delta-token', (0.5, 0.5)), ('frame-token', (0.4, 0.6))):
        for run, value in zip(rows[key], values, strict=True):
            run['forecast']['mid']['best']['miou'] = value

    def answer() -> str:
        [found] = [v.answer for v in verdicts(changed) if v.claim.endswith('best beats (2)')]
        return found
    for other in ROWS:
        if len(rows[other.key]) == 1:
            rows[other.key] = rows[other.key] * 2
    assert answer() == 'not with every seed'
    rows['frame-token'][1]['forecast']['mid']['best']['miou'] = 0.4
    assert answer() == 'yes'
    rows['frame-token'] = [copy.deepcopy(rows['delta-token'][0]) for _ in range(2)]
    assert answer() == 'no'


@pytest.mark.parametrize(('held', 'says'), [
    (0.30, 'copy last reaches 0.400: the tokenizer and not the predictor limits this row'),
    (0.45, 'row (0) 0.500: even a perfect predictor of these tokens would not pass it'),
    (0.55, '')])
def test_what_the_tokens_hold_is_told(result: dict, held: float, says: str) -> None:
    """It is held against copy last first, and then against the patches' row."""
    changed = copy.deepcopy(result)
    changed['bounds']['copy_last']['mid']['best']['miou'] = 0.4
    changed['rows']['dino-world'][0]['forecast']['mid']['best']['miou'] = 0.5
    changed['rows']['delta-token'][0]['reconstruction']['mid']['best']['miou'] = held
    told = [line for line in observations(changed)
            if line.startswith('(3)') and 'tokens of the true future' in line]
    assert len(told) == bool(says) and says in ' '.join(told)


def test_scaling_has_every_pair(result: dict) -> None:
    """Each number of candidates was trained, the row's own reused, and each number scored."""
    scaling = result['scaling']
    settings = result['budget']
    assert [run['candidates'] for run in scaling] == settings['scaling']['training']
    for run in scaling:
        assert [int(count) for count in run['scores']] == settings['scaling']['evaluation']
        one = run['scores']['1']['mid']
        assert one['best'] == one['mean']
    own = [run['training'] for run in scaling if run['candidates'] == settings['candidates']]
    assert own == [result['rows']['delta-token'][0]['training']]


def test_some_rows_alone(folder: Path, result: dict) -> None:
    """Chosen rows give the table and figure of themselves, and unknown ones are told."""
    chosen = ['best-of-many', 'dino-world', 'foresight', 'foresight-delta']
    report = folder / 'some'
    told = CliRunner().invoke(app, [
        'ladder', '--budget', 'smoke', '--seeds', '1', '--output', str(folder), '--report',
        str(report), *(text for key in chosen for text in ('--row', key))])
    assert told.exit_code == 0, told.output
    some = json.loads((report / 'ladder.json').read_text())
    assert some['rows'] == {
        key: value for key, value in result['rows'].items() if key in chosen}
    text = (report / 'ladder.md').read_text()
    assert '| (8) ' in text and '(3)' not in text and 'trained with' not in text
    assert sorted(path.name for path in report.iterdir()) == [
        'ladder.json', 'ladder.md', 'ladder.png']
    assert [v.claim[:3] for v in verdicts(some)] == ['(1)', '(1)', '(8)']
    del some['rows']['dino-world']
    assert '| (1) + best-of-many |' in ladder_tables(some)
    with pytest.raises(UserError, match='--row rows: must be one of dino-world, '):
        choose_rows(['rows'])


def test_finished_parts_are_kept(folder: Path) -> None:
    """A second run redoes only what is missing; other settings are refused."""
    settings = load_budget('smoke')
    kept = folder / 'seed0' / 'dino-world' / 'world.safetensors'
    before, missing = kept.stat().st_mtime_ns, folder / 'seed0' / 'best-of-many'
    for file in missing.iterdir():
        file.unlink()
    LadderRun(settings, folder, 1).run()
    assert kept.stat().st_mtime_ns == before
    assert (missing / 'scores.json').exists()
    settings.candidates = 5
    with pytest.raises(UserError, match='other settings'):
        LadderRun(settings, folder, 1)


def test_training_and_test_worlds_differ(folder: Path) -> None:
    """The test split has its own seeds, exact strides and true labels."""
    assert TEST_SEEDS.stop <= TRAIN_SEEDS.start
    test = FeatureStore(folder / 'test')
    np.testing.assert_allclose(np.diff(test.times, axis=1), 0.2)
    steps = np.diff(FeatureStore(folder / 'train').times, axis=1)
    assert steps.min() >= 1 / 25 and steps.max() <= 1 / 3 and steps.std() > 0.03
    assert test.labels.max() < 10


def test_own_reconstructions_are_chained(folder: Path) -> None:
    """Each token of row 5 is relative to the reconstruction before it, from black on."""
    tokenizer = load_frozen(folder / 'seed0' / 'tokenizer-own.safetensors', 'tokenizer')
    features = torch.from_numpy(FeatureStore(folder / 'test').features[:2]).float()
    with torch.no_grad():
        tokens, last = encode_frames(tokenizer, features, own=True)
        black = tokenizer.black.expand_as(features[:, 0])
        assert torch.allclose(tokens[:, 0], tokenizer.encode(black, features[:, 0]))
        decoded = decode_tokens(tokenizer, tokens, black)
        assert torch.allclose(decoded[:, -1], last, atol=1e-5)
        second = tokenizer.encode(decoded[:, 0], features[:, 1])
        assert torch.allclose(tokens[:, 1], second, atol=1e-5)
        true, upon = encode_frames(tokenizer, features, own=False)
        assert torch.equal(upon, features[:, -1])
        assert not torch.allclose(true[:, 1:], tokens[:, 1:])


def test_spatial_best_of_many_takes_the_nearest_frame() -> None:
    """Of all queries that were drawn, each frame's winner predicts it best."""
    sizes = {'kind': 'spatial', 'size': 64, 'heads': 1, 'layers': 1, 'mlp_size': 64,
             'feature_size': 8, 'learned_query': False, 'layer_scale': 1.0}
    stage = SpatialPredictorStage((2, 2), sizes, candidates=6, rate=1e-3)
    for part in stage.world.predictor.parameters():
        torch.nn.init.normal_(part, std=0.5)
    features, times = torch.randn(2, 4, 4, 8), 0.2 * torch.arange(4).double().expand(2, -1)
    drawn = torch.randn(2, 6, 3, 64)

    class Drawn:
        def __init__(self) -> None:
            self.next = 0

        def normal(self, count: int, *shape: int) -> torch.Tensor:
            self.next += count
            return drawn[:, self.next - count:self.next] / 0.02
    stage.noise = lambda size, stream=0: Drawn()  # type: ignore[assignment, method-assign]
    chosen = stage.choose(features, times)
    with torch.no_grad():
        errors = torch.stack([
            stage.loss(stage.world(features, times, drawn[:, k], (2, 2)), features[:, 1:])
            .mean((2, 3)) for k in range(6)], dim=1)
    best = errors.argmin(1)
    expected = drawn.gather(1, best[:, None, :, None].expand(-1, -1, -1, 64))[:, 0]
    torch.testing.assert_close(chosen, expected)
    assert len(best.unique()) > 1
    assert isinstance(stage.world, SpatialWorld)


@pytest.mark.parametrize('name', ['cpu', 'gpu', 'small', 'smoke'])
def test_shipped_budgets_fit_together(name: str) -> None:
    """All networks of each budget can be built, and K of the rows is one of the scaling."""
    settings = load_budget(name)
    rows, columns = settings.grid
    assert rows % 2 == 0 and columns % 2 == 0
    assert settings.predictor_size // settings.predictor.heads >= 60
    assert settings.candidates in settings.scaling.training


def test_unknown_budgets_are_told_in_one_line(tmp_path: Path) -> None:
    """The message names what there is."""
    with pytest.raises(UserError, match="'huge' not found; .*cpu, gpu, small, smoke"):
        load_budget('huge')
    path = tmp_path / 'wrong.yaml'
    path.write_text('name: x\n')
    with pytest.raises(UserError, match='wrong.yaml'):
        load_budget(str(path))
