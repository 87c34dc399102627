# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights come back out of a bundle, and go on learning on a bag."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.network_bundle import motion_bundle, small_recipe, trained_like

from deltaworld_ros.bundle.load import Bundle, load_bundle
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.demo import SAMPLE_BAG
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.model.networks import Networks, load_networks, save_networks
from deltaworld_training.data.sources.bags import BagRecording
from deltaworld_training.runs.finetune import FineTuning, duration
from deltaworld_training.runs.recipe import load_recipe
from deltaworld_training.stages.tokenizer import reconstruct


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    """Return one that can be told the robot's motion; bags know of none."""
    return load_bundle(motion_bundle())


def start_networks() -> Networks:
    """Return what the bundle was exported from."""
    return trained_like(recipe=small_recipe('street-motion'))


def test_weights_come_out_of_the_shipped_bundle() -> None:
    """The shipped bundle can be trained on from: its golden arrays come out again."""
    networks = graph_networks(load_bundle('street-lite0'))
    assert networks.sizes['tokenizer']['encoder_layers'] == 2


def test_finetuning_writes_a_bundle_that_knows_the_bag_better(
    bundle: Bundle, tmp_path: Path,
) -> None:
    """Without labels and in seconds: the reconstruction error on the bag falls."""
    networks = tmp_path / 'start.safetensors'
    save_networks(start_networks(), networks)
    recipe = load_recipe('finetune-bag')
    run = FineTuning(
        bundle, networks, [BagRecording(SAMPLE_BAG, start=0.0, end=3.0)], recipe,
        tmp_path / 'run', minutes=0.1, clips=6, mixed=None, workers=1)
    for stage in recipe.stages.values():
        stage.data['init_args']['batch'] = 4
    torch.set_num_threads(1)
    folder = run.run()
    manifest = load_bundle(folder).manifest
    assert manifest.name == f'{bundle.manifest.name}-finetuned' and manifest.motion
    assert manifest.training_data[-1] == f'fine-tuned on {SAMPLE_BAG.name}'
    before, after = load_networks(networks), load_networks(folder.parent / 'networks.safetensors')
    features = torch.from_numpy(np.load(tmp_path / 'run' / 'bag' / 'features.npy')).float()
    errors = []
    with torch.no_grad():
        for found in (before, after):
            made = reconstruct(found.tokenizer, features, 'decoded')
            errors.append((made - features[:, 1:]).square().mean().item())
    assert errors[1] < 0.9 * errors[0]
    assert torch.equal(before.segmentation.head.weight, after.segmentation.head.weight)
    with pytest.raises(UserError, match='--mix .*holds features'):
        other = tmp_path / 'other'
        other.mkdir()
        for name in ('times', 'labels', 'depth', 'done'):
            np.save(other / f'{name}.npy', np.zeros((1, 7)))
        np.save(other / 'features.npy', np.zeros((1, 7, 5, 5), np.float16))
        run.mixed = other
        run.store(before)


def test_durations_are_the_trainers() -> None:
    """Days, hours, minutes and seconds."""
    assert [duration(s) for s in (9.9, 3661, 90_000)] == [
        '00:00:00:09', '00:01:01:01', '01:01:00:00']
