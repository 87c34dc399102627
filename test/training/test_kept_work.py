# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Work of other settings, of other sources or half of it is never taken for finished work."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.training_batches import DELTA, GRID, save_random

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.description import (
    check_description,
    fingerprint,
    keep_description,
)
from deltaworld_training.data.feature_store import FeatureStore, build_store
from deltaworld_training.runs.recipe import Recipe, load_recipe
from deltaworld_training.runs.stage import run_stage
from deltaworld_training.stages.parts import read_recipe, save_parts
from deltaworld_training.stages.store_data import StoreData, encoded_store


@dataclass
class Noise:
    """Clips of noise; `fatal` kills the process that asks for a clip with that number."""

    seed: int
    count: int = 3
    fatal: int = -1

    def __len__(self) -> int:
        return self.count

    def clip(self, index: int) -> Clip:
        if index == self.fatal:
            os.kill(os.getpid(), 9)
        generator = np.random.default_rng((self.seed, index))
        frames = generator.integers(0, 256, (4, 32, 64, 3), dtype=np.uint8)
        return Clip(frames, 0.2 * np.arange(4))


class Colors:
    """The mean colour of each patch, spread over 64 values."""

    grid = GRID
    stride = 16
    feature_size = 64

    def features(self, frames: np.ndarray) -> np.ndarray:
        cells = frames.reshape(len(frames), 2, 16, 4, 16, 3).mean((2, 4)) / 255 - 0.5
        spread = np.random.default_rng(0).normal(size=(3, 64))
        return (cells.reshape(len(frames), 8, 3) @ spread).astype(np.float32)


def store(folder: Path, source: Any, workers: int = 0) -> FeatureStore:
    return build_store(folder, source, 4, Colors(), 100.0, workers, {'seed': source.seed})


def test_a_store_of_other_clips_is_refused_and_the_same_is_kept(tmp_path: Path):
    made = store(tmp_path / 'a', Noise(1))
    assert made.complete and len(made.clips) == 3
    before = (tmp_path / 'a' / 'features.npy').stat().st_mtime_ns
    store(tmp_path / 'a', Noise(1))
    assert (tmp_path / 'a' / 'features.npy').stat().st_mtime_ns == before
    with pytest.raises(UserError, match='seed: 1 then, 2 now.*delete it'):
        store(tmp_path / 'a', Noise(2))
    with pytest.raises(UserError, match='shapes.features'):
        store(tmp_path / 'a', Noise(1, count=5))


def test_a_store_without_a_description_is_refused(tmp_path: Path):
    store(tmp_path, Noise(1))
    (tmp_path / 'description.json').unlink()
    with pytest.raises(UserError, match='nothing says how it was made'):
        store(tmp_path, Noise(1))


def test_a_killed_worker_is_one_clear_error_and_half_a_store_is_not_trained_on(tmp_path: Path):
    with pytest.raises(UserError, match='was killed'):
        store(tmp_path / 'a', Noise(1, fatal=2), workers=1)
    assert not FeatureStore(tmp_path / 'a').complete
    with pytest.raises(UserError, match=r'holds \d of 3 clips.*train features'):
        StoreData([tmp_path / 'a'], 4, 2).setup('fit')
    assert store(tmp_path / 'a', Noise(1)).complete


class Moving(Noise):
    """Clips whose motion is known in every other one."""

    def clip(self, index: int) -> Clip:
        clip = super().clip(index)
        motion = np.full((4, 2), 3.0 + index, np.float32)
        return clip if index % 2 else replace(clip, motion=motion)


def test_motion_is_kept_where_it_is_known(tmp_path: Path):
    kept = store(tmp_path, Moving(1)).motion
    assert (kept[0] == 3).all() and np.isnan(kept[1]).all() and (kept[2] == 5).all()
    data = StoreData([tmp_path], 4, 2, motion=True)
    data.setup('fit')
    assert data.windows[0][2]['motion'].shape == (4, 2)


def test_a_store_of_a_version_without_motion_stays_valid(tmp_path: Path):
    """Whole or half, it is the same store, whose motion is not known."""
    made = store(tmp_path, Moving(1))
    (tmp_path / 'motion.npy').unlink()
    done = np.load(tmp_path / 'done.npy')
    done[2] = 0
    np.save(tmp_path / 'done.npy', done)
    again = store(tmp_path, Moving(1))
    assert again.complete and again.digest == made.digest
    assert again.motion.shape == (3, 4, 2) and np.isnan(again.motion).all()


@pytest.mark.parametrize('damage, reason', [
    (lambda path: path.write_bytes(path.read_bytes()[:200]), 'not a readable array'),
    (lambda path: np.save(path, np.zeros((2, 4))), 'holds .2, 4. clips'),
    (lambda path: path.unlink(), 'not a readable array'),
])
def test_damaged_arrays_are_named(tmp_path: Path, damage, reason: str):
    store(tmp_path, Noise(1))
    damage(tmp_path / 'times.npy')
    with pytest.raises(UserError, match=f'times.npy.*{reason}'):
        FeatureStore(tmp_path)


def test_tokens_of_another_store_are_not_reused(tmp_path: Path):
    tokenizer = save_random(tmp_path, 'tokenizer', DELTA)
    first = encoded_store(tokenizer, store(tmp_path / 'a', Noise(1)))
    for file in (tmp_path / 'a').glob('*.npy'):
        file.unlink()
    (tmp_path / 'a' / 'description.json').unlink()
    second = encoded_store(tokenizer, store(tmp_path / 'a', Noise(2)))
    assert first['deltas'].shape == second['deltas'].shape
    assert not np.array_equal(first['deltas'], second['deltas'])


def tiny(folder: Path, **model: Any) -> Recipe:
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump({'name': 'tiny', 'stages': {'tokenizer': {
        'stage': 'tokenizer',
        'model': {'tokenizer': DELTA, 'rate': 1e-3, **model},
        'data': {'class_path': 'deltaworld_training.stages.store_data.StoreData',
                 'init_args': {'folders': ['{run}/a'], 'frames': 3, 'batch': 2}},
        'trainer': {'max_steps': 2, 'accelerator': 'cpu'}}}}))
    return load_recipe(str(path))


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny recipe once."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp('finished')
    store(folder / 'run' / 'a', Noise(1))
    save_random(folder, 'backbone', {
        'kind': 'dinov3', 'size': 64, 'heads': 1, 'layers': 1, 'mlp_size': 64})
    run_stage(recipe_of(folder), 'tokenizer', folder / 'run')
    return folder


def recipe_of(folder: Path, **model: Any) -> Recipe:
    return tiny(folder, backbone=str(folder / 'backbone.safetensors'), **model)


def test_a_finished_stage_is_kept_for_the_same_settings_alone(finished: Path):
    path = finished / 'run' / 'tokenizer.safetensors'
    before = path.stat().st_mtime_ns
    run_stage(recipe_of(finished), 'tokenizer', finished / 'run', [
        '--trainer.devices=1', '--checkpoint.every_n_train_steps=1'])
    assert path.stat().st_mtime_ns == before
    with pytest.raises(UserError, match='model.rate: 0.001 then, 0.002 now'):
        run_stage(recipe_of(finished, rate=2e-3), 'tokenizer', finished / 'run')
    with pytest.raises(UserError, match='overrides.model.rate: null then, "0.1" now'):
        run_stage(recipe_of(finished), 'tokenizer', finished / 'run', ['--model.rate=0.1'])


def test_a_finished_stage_is_refused_when_what_it_read_has_changed(finished: Path):
    path = finished / 'backbone.safetensors'
    original = path.read_bytes()
    save_random(finished, 'backbone', {
        'kind': 'dinov3', 'size': 64, 'heads': 1, 'layers': 1, 'mlp_size': 64}, seed=9)
    try:
        with pytest.raises(UserError, match='inputs.*backbone.safetensors'):
            run_stage(recipe_of(finished), 'tokenizer', finished / 'run')
    finally:
        path.write_bytes(original)


def test_an_interrupted_stage_goes_on_with_its_own_settings_alone(finished: Path):
    path = finished / 'run' / 'tokenizer.safetensors'
    aside = path.with_suffix('.aside')
    path.rename(aside)
    try:
        with pytest.raises(UserError, match='last.ckpt: was made with other settings'):
            run_stage(recipe_of(finished, rate=2e-3), 'tokenizer', finished / 'run')
    finally:
        aside.rename(path)


def test_a_torn_stage_file_is_not_finished_work(finished: Path, tmp_path: Path):
    torn = tmp_path / 'torn.safetensors'
    torn.write_bytes((finished / 'run' / 'tokenizer.safetensors').read_bytes()[:-50])
    with pytest.raises(UserError, match='torn.safetensors: not a readable safetensors file'):
        read_recipe(torn)
    save_parts(tmp_path / 'x.safetensors', {'a.b': torch.zeros(2)}, {'a': {}}, {'k': 1})
    assert read_recipe(tmp_path / 'x.safetensors') == {'k': 1}
    assert [file.name for file in tmp_path.glob('*partial*')] == []


def test_descriptions_name_what_differs(tmp_path: Path):
    path, result = tmp_path / 'description.json', tmp_path / 'result'
    keep_description(path, {'a': {'b': 1, 'c': [1, 2]}, 'size': (3, 4)}, result)
    keep_description(path, {'a': {'b': 1, 'c': [1, 2]}, 'size': (3, 4)}, result)
    with pytest.raises(UserError, match=r'a.c: \[1, 2\] then, null now'):
        keep_description(path, {'a': {'b': 1}, 'size': (3, 4)}, result)
    path.write_text('{')
    with pytest.raises(UserError, match='not readable'):
        keep_description(path, {}, result)
    with pytest.raises(UserError, match='and 2 more'):
        check_description({}, {str(n): n for n in range(5)}, 'x')


def test_fingerprints_see_both_ends_of_a_file(tmp_path: Path):
    path = tmp_path / 'video.mp4'
    path.write_bytes(bytes(3 << 20))
    first = fingerprint(path)
    data = bytearray(3 << 20)
    data[-1] = 1
    path.write_bytes(data)
    assert fingerprint(path) != first
    path.write_bytes(bytes((3 << 20) + 1))
    assert fingerprint(path) != first
    before = fingerprint(tmp_path)
    (tmp_path / 'second').write_bytes(b'x')
    assert fingerprint(tmp_path) != before
