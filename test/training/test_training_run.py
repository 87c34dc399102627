# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole training run, small but real: worlds, features, all stages, export."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.network_bundle import small_recipe

from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.selection import temper
from deltaworld_ros.model.networks import load_networks
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.runs.bundle import BundleRun
from deltaworld_training.runs.bundle_manifest import bundle_manifest
from deltaworld_training.runs.recipe import RECIPES, load_recipe
from deltaworld_training.stages.sampled_windows import SampledWindow
from deltaworld_training.stages.weight_calibration import closest_future, fit_weight_temperature
from deltaworld_training.street.world import TRAIN_SEEDS


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the small recipe once."""
    folder = tmp_path_factory.mktemp('run')
    BundleRun(small_recipe(), folder, None).run()
    return folder


def test_run_ends_in_a_bundle_that_verifies(folder: Path) -> None:
    """The exported bundle loads and its engine reproduces the golden arrays."""
    bundle = load_bundle(folder / 'street-lite0')
    assert check_parity(OnnxRuntimeEngine(bundle), bundle).passed
    baselines = np.load(bundle.file('baselines.npz'))
    manifest = bundle.manifest
    assert baselines['blur'].shape == (manifest.steps, manifest.feature_size, 3, 3)
    assert baselines['mean_token'].shape == (manifest.token_size,)
    assert len(manifest.temperatures) == manifest.steps + 1
    assert 0.1 <= manifest.weight_temperature <= 10 and manifest.weight_temperature != 1


def test_weights_become_how_often_their_future_comes_closest() -> None:
    """The fitted temperature is that with which the closest futures were drawn."""
    class Stepping:
        """A tokenizer whose token is the change of the features."""

        def decode(self, token: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
            return features + token[:, None]
    networks = SimpleNamespace(tokenizer=Stepping())
    random = np.random.default_rng(0)
    windows = []
    for _ in range(3000):
        weights = np.sort(random.dirichlet(np.full(4, 3.0)))[::-1].astype(np.float32)
        closest = random.choice(4, p=temper(weights, 2.5).astype(np.float64) / temper(
            weights, 2.5).astype(np.float64).sum())
        tokens = torch.randn(4, 2, 3)
        features = torch.zeros(3, 5, 3)
        features[2] = tokens[closest].sum(0) + 0.001
        windows.append(SampledWindow(
            features, np.zeros((3, 1, 1), np.uint8), tokens, torch.from_numpy(weights)))
        assert closest_future(networks, windows[-1]) == closest
    assert fit_weight_temperature(networks, [windows]) == pytest.approx(2.5, rel=0.15)


def test_store_holds_every_clip_with_its_truth(folder: Path) -> None:
    """Features have a mean square of about one; labels and depth lie in their ranges."""
    store = FeatureStore(folder / 'street')
    assert len(store.clips) == 4
    assert 0.3 < np.square(store.features.astype(np.float32)).mean() < 3.0
    assert set(np.unique(store.labels)) <= set(range(10))
    depth = np.asarray(store.depth, np.float32)
    assert np.nanmin(depth) > 0.0
    # On the sky's edge a cell may take its class from one side and its depth from the other.
    assert np.isnan(depth[np.asarray(store.labels) == 6]).mean() > 0.95
    assert (np.diff(store.times) > 0.0).all()


def test_finished_steps_are_not_done_again(folder: Path) -> None:
    """A second run keeps the weights of the first, and redoes only what is missing."""
    before = load_file(folder / 'joint.safetensors')
    (folder / 'samples.safetensors').unlink()
    run = BundleRun(small_recipe(), folder, None)
    run.prepare()
    for name in run.recipe.stages:
        run.train(name)
    after = load_file(folder / 'joint.safetensors')
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (folder / 'samples.safetensors').exists()


def test_a_run_goes_on_from_a_bundle(folder: Path, tmp_path: Path) -> None:
    """On clips it has not seen, in the same feature space, from the bundle's own weights."""
    recipe = small_recipe()
    recipe.start = str(folder / 'street-lite0')
    recipe.needed('data').street_first = 4
    for name in ('tokenizer', 'predictor', 'samples'):
        del recipe.stages[name]
    for stage in recipe.stages.values():
        stage.model['initial'] = '{run}/start.safetensors'
        stage.model['rate'] = 1e-7
        stage.trainer['max_steps'] = 1
    run = BundleRun(recipe, tmp_path, None)
    run.prepare()
    # What the bundle has of a network is the result of the last stage that trains it.
    sources = {name: load_file(folder / f'{name}.safetensors')
               for name in ('heads', 'joint', 'samples')}
    sources['joint'] = sources['samples']
    for name in ('heads', 'joint'):
        before, after = sources[name], load_file(run.train(name))
        assert after.keys() == before.keys()
        # The bundle stores weights in half precision.
        for key in before:
            if key.endswith('proj.weight'):
                assert np.allclose(before[key], after[key], atol=2e-3, rtol=2e-3), key
    assert bundle_manifest(recipe).training_data == load_bundle(
        folder / 'street-lite0').manifest.training_data
    frames = StreetClips(TRAIN_SEEDS.start + 4, 1, 8, 0.2, (96, 64)).clip(0).frames
    networks = load_networks(folder / 'networks.safetensors')
    with torch.no_grad():
        features = networks.backbone(torch.from_numpy(frames).permute(0, 3, 1, 2)).numpy()
    assert np.allclose(FeatureStore(tmp_path / 'street').features[0], features, atol=0.05)


def test_missing_videos_are_named(tmp_path: Path) -> None:
    """A recipe with videos says which files it lacks before anything is rendered."""
    with pytest.raises(UserError, match='--videos: give the folder that holds project_video01'):
        BundleRun(load_recipe('street-cpu'), tmp_path / 'run', None)
    with pytest.raises(UserError, match='not found: .*project_video01.mp4'):
        BundleRun(load_recipe('street-cpu'), tmp_path / 'run', tmp_path)
    assert not (tmp_path / 'run').exists()


def test_name_of_a_recipe_is_no_path(tmp_path: Path) -> None:
    """It becomes a folder and the name of the bundle."""
    path = tmp_path / 'recipe.yaml'
    path.write_text((RECIPES / 'street-cpu.yaml').read_text().replace(
        'name: street-lite0', 'name: ../../escaped'))
    with pytest.raises(UserError, match="name: '../../escaped' is not accepted"):
        load_recipe(str(path))


@pytest.mark.parametrize('text, reason', [
    ('name: [', 'recipe.yaml'), ('name: x', 'Field required'), ('[]', 'recipe.yaml')])
def test_bad_recipes_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    """A recipe that is no YAML or lacks settings is one clear error."""
    path = tmp_path / 'recipe.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=reason):
        load_recipe(str(path))
    with pytest.raises(UserError, match='one of: .*street-cpu'):
        load_recipe('no-such-recipe')
