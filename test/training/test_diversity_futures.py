# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""True futures of the street world: their probabilities, their pasts, their pictures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_training.cli import app
from deltaworld_training.diversity.bundle_scores import bundle_scores, check_times
from deltaworld_training.diversity.cache import build_futures, cached_futures
from deltaworld_training.diversity.evaluation import copy_last, measure, with_features
from deltaworld_training.diversity.futures import CONTINUATIONS, TrueFutures, true_futures
from deltaworld_training.diversity.pasts import (
    EGO,
    SAME_PLACE,
    begin_branch,
    continue_branch,
    find_past,
)
from deltaworld_training.street.pedestrians import CHOICES
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.vehicles import EVENTS, ROUTES
from deltaworld_training.street.world import StreetWorld

OPEN_SEED = 109  # a test world with an open past
SIZE = (320, 192)


@pytest.fixture(scope='module')
def renderer():
    renderer = Renderer(*SIZE)
    yield renderer
    renderer.release()


@pytest.fixture(scope='module')
def one(renderer: Renderer) -> TrueFutures:
    found = true_futures(OPEN_SEED, renderer)
    assert found is not None
    return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a worker process rendered the past of `OPEN_SEED`."""
    folder = tmp_path_factory.mktemp('futures')
    build_futures(folder / f'320x192_{OPEN_SEED}', 1, SIZE, OPEN_SEED, workers=1)
    return folder


def realised(world: StreetWorld, agent: int, kind: str) -> str:
    """Return what an agent of a branched world is about to do."""
    if kind == 'event':
        return EVENTS[world.vehicles.event[agent]]
    if kind == 'walk':
        return CHOICES[world.walkers.choice[agent]]
    return ROUTES[world.vehicles.route[agent]]


@pytest.mark.parametrize('seed', [3, 5, OPEN_SEED])
def test_branch_probabilities_are_the_frequencies_of_natural_continuations(seed: int):
    """Of many re-seeded continuations, each combination of intents has its listed share."""
    world = StreetWorld(seed)
    world.advance_to(0.6)
    state, branches = world.snapshot(), world.branches(most=2)
    agents = list(branches[0][0])
    count = 1200
    seen: Counter[tuple[str, ...]] = Counter()
    for number in range(count):
        world.restore(state)
        world.branch(number)
        seen[tuple(realised(world, *agent) for agent in agents)] += 1
    listed = {tuple(intents[agent] for agent in agents): odds for intents, odds in branches}
    assert set(seen) <= set(listed)
    for combination, odds in listed.items():
        error = np.sqrt(odds * (1 - odds) / count)
        assert abs(seen[combination] / count - odds) < 4.5 * error, combination


def test_the_egos_turns_happen_as_often_as_their_odds_say(renderer: Renderer):
    """The odds of an open past hold for continuations from the beginning of its context."""
    past = find_past(OPEN_SEED, 0.6, 0.6, renderer)
    assert past is not None and sum(past.odds) == pytest.approx(1.0)
    world = StreetWorld(OPEN_SEED)
    count = 800
    seen: Counter[str] = Counter()
    for number in range(count):
        world.restore(past.beginning)
        world.branch(number)
        seen[realised(world, EGO, 'route')] += 1
    assert set(seen) == set(past.options)
    for option, odds in zip(past.options, past.odds, strict=True):
        assert abs(seen[option] / count - odds) < 4.5 * np.sqrt(odds * (1 - odds) / count)


def test_all_options_share_the_past_and_part_after_it(renderer: Renderer):
    past = find_past(OPEN_SEED, 0.6, 0.6, renderer)
    assert past is not None and past.difference >= 0.04
    world = StreetWorld(OPEN_SEED)
    tracks, ends = [], []
    for number, option in enumerate(past.options):
        begin_branch(world, past.beginning, option)
        track = []
        for _ in range(3):
            world.step(0.2)
            track.append(world.vehicles.poses(world.routes)[EGO, :2])
        tracks.append(track)
        continue_branch(world, past, number, 5)
        np.testing.assert_allclose(world.vehicles.poses(world.routes)[EGO, :2], track[-1])
        assert ROUTES[world.vehicles.route[EGO]] == option
        world.step(0.6)
        ends.append(world.vehicles.poses(world.routes)[EGO, :2])
    assert np.linalg.norm(np.subtract(tracks, tracks[0]), axis=-1).max() <= SAME_PLACE
    assert np.linalg.norm(np.subtract(ends, ends[0]), axis=-1).max() > 0.1


def test_futures_have_probabilities_and_pictures(one: TrueFutures):
    options = len(one.options)
    assert one.context.shape == (4, 192, 320, 3) and one.context.dtype == np.uint8
    assert one.futures.shape == (options * CONTINUATIONS, 3, 192, 320, 3)
    assert one.probabilities.sum() == pytest.approx(1.0)
    assert (np.bincount(one.branches) == CONTINUATIONS).all()
    np.testing.assert_allclose(one.context_times, [-0.6, -0.4, -0.2, 0.0])
    # Continuations of one turn differ in less than those of different turns.
    last = one.futures[:, -1].astype(float)
    apart = np.abs(last[:, None] - last[None]).mean((2, 3, 4))
    same = one.branches[:, None] == one.branches[None]
    np.fill_diagonal(apart, np.nan)
    assert 0 < np.nanmean(apart[same]) < np.nanmean(apart[~same])


def test_the_same_seed_gives_the_same_futures_through_a_worker(
        one: TrueFutures, folder: Path):
    (kept,) = cached_futures(folder / f'320x192_{OPEN_SEED}', 1)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(getattr(kept, name), value, err_msg=name)


def test_what_is_there_is_not_rendered_again(folder: Path):
    place = folder / f'320x192_{OPEN_SEED}'
    stamp = (place / f'{OPEN_SEED:06d}.npz').stat().st_mtime_ns
    build_futures(place, 1, SIZE, OPEN_SEED, workers=1)
    assert (place / f'{OPEN_SEED:06d}.npz').stat().st_mtime_ns == stamp


def test_a_bundle_is_scored_in_every_way(one: TrueFutures):
    bundle = load_bundle('street-lite0')
    engine = load_engine(bundle, 'onnxruntime-cpu', 1)
    scores = bundle_scores(engine, bundle.manifest, [one], ['kept', 'fresh'])
    engine.close()
    assert list(scores) == ['6 of 128, kept', '20 plain, kept', '6 of 128, fresh',
                            '20 plain, fresh', 'true tokens', 'copy_last']
    assert scores['copy_last']['coverage'] == scores['copy_last']['precision'] == 0
    assert scores['copy_last']['best'] == pytest.approx(1.0)
    # No forecast has less error than the tokens of the true futures, which tell turns apart less
    # well than they could (docs/quality.md).
    assert 0.0 <= scores['true tokens']['coverage'] <= 1.0
    assert 0.0 <= scores['true tokens']['brier'] <= 1.0
    for way in ('kept', 'fresh'):
        plain = scores[f'20 plain, {way}']
        assert scores['true tokens']['best'] < plain['best'] <= plain['mean'] < 1.2
    assert scores['20 plain, kept']['best'] != scores['20 plain, fresh']['best']


def test_any_model_of_features_can_be_measured(one: TrueFutures):
    def extract(images: np.ndarray) -> np.ndarray:
        return images[:, ::32, ::32].reshape(len(images), -1, 3) / 255.0
    (truth,) = with_features([one], extract)
    assert truth.futures.shape == (len(one.futures), 3, 60, 3)
    perfect = measure(lambda past: (truth.futures, truth.probabilities), [truth])
    assert perfect['coverage'] == pytest.approx(1.0)
    assert perfect['energy_distance'] == pytest.approx(0.0, abs=1e-9)
    assert measure(copy_last, [truth])['precision'] == 0.0


def test_the_command_writes_and_prints(folder: Path, tmp_path: Path):
    done = CliRunner().invoke(app, [
        'diversity', '--pasts', '1', '--seed', str(OPEN_SEED), '--queries', 'kept', '--workers',
        '1', '--folder', str(folder), '--json', str(tmp_path / 'out' / 'scores.json'),
        '--markdown', str(tmp_path / 'out' / 'scores.md')], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert written['pasts'] == 1 and written['lead'] == 0.6
    assert set(written['scores']) == {
        '6 of 128, kept', '20 plain, kept', 'true tokens', 'copy_last'}
    assert '| copy_last | 0.000 |' in (tmp_path / 'out' / 'scores.md').read_text()


def test_wrong_settings_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match='--queries both: must be kept, fresh or kept,fresh'):
        CliRunner().invoke(app, ['diversity', '--queries', 'both', '--folder', str(tmp_path)],
                           catch_exceptions=False)
    manifest = load_bundle('street-lite0').manifest
    slower = type(manifest)(**{**vars(manifest), 'stride': 0.3})
    with pytest.raises(UserError, match='the true futures have'):
        check_times(slower)
