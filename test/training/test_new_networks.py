# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A new backbone, tokenizer and world are one file in model/ and one recipe."""

import sys
from pathlib import Path

import pytest
from support.network_bundle import small_recipe

from deltaworld_ros import model
from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.errors import UserError
from deltaworld_ros.model import registry
from deltaworld_training.runs.bundle import BundleRun

NETWORKS = """
import torch
from torch import nn
from deltaworld_ros.model.registry import register


@register('backbone', 'toy_backbone')
class ToyBackbone(nn.Module):
    stride = 8
    model_name = 'toy'
    published = None

    def __init__(self, feature_size):
        super().__init__()
        self.feature_size = feature_size
        self.patches = nn.Conv2d(3, feature_size, self.stride, self.stride)

    def load_published(self):
        pass

    def forward(self, image):
        return self.patches(image.float() / 64.0 - 2.0).flatten(2).transpose(1, 2)


@register('tokenizer', 'toy_tokenizer')
class ToyTokenizer(nn.Module):
    def __init__(self, feature_size, grid, token_size):
        super().__init__()
        self.feature_size, self.grid, self.token_size = feature_size, tuple(grid), token_size
        self.encoder = nn.Linear(2 * feature_size, token_size)
        self.decoder = nn.Linear(token_size, feature_size)

    def encode(self, previous, current):
        return self.encoder(torch.cat([previous.mean(1), current.mean(1)], dim=-1))

    def encode_anchor(self, current):
        return self.encode(torch.zeros_like(current), current)

    def encode_with_anchor(self, previous, current):
        return self.encode(previous, current), self.encode_anchor(current)

    def decode(self, token, previous):
        return previous + self.decoder(token)[:, None]


@register('world', 'toy_world')
class ToyWorld(nn.Module):
    frequencies = 5
    learned_query = False

    def __init__(self, token_size, noise_size):
        super().__init__()
        self.token_size, self.noise_size = token_size, noise_size
        self.query = nn.Linear(noise_size + 2 * self.frequencies, token_size)

    def rollout(self, tokens, table, noise):
        when = torch.cat(table, dim=-1)[:, None, -noise.shape[2]:]
        when = when.expand(-1, noise.shape[1], -1, -1)
        return tokens[:, None, -1:] + self.query(torch.cat([noise, when], dim=-1))
"""


@pytest.fixture
def toy_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Drop the file into the package's path, and forget it afterwards."""
    folder = tmp_path / 'networks'
    folder.mkdir()
    (folder / 'toy_networks.py').write_text(NETWORKS)
    registry._import_all()   # what ships stays registered afterwards
    monkeypatch.setattr(model, '__path__', [*model.__path__, str(folder)])
    monkeypatch.setattr(registry, '_classes', {
        part: dict(kinds) for part, kinds in registry._classes.items()})
    registry._import_all.cache_clear()
    yield
    sys.modules.pop('deltaworld_ros.model.toy_networks', None)
    registry._import_all.cache_clear()


def toy_recipe():
    recipe = small_recipe()
    recipe.backbone = {'kind': 'toy_backbone', 'feature_size': 12}
    del recipe.stages['samples'], recipe.stages['joint'].model['fixed']
    heads = recipe.stages['heads']
    heads.model |= {'grid': [8, 12]}
    heads.model['segmentation']['size'] = heads.model['depth']['size'] = 12
    heads.trainer['max_steps'] = 2
    for name in ('tokenizer', 'joint'):
        recipe.stages[name].model['tokenizer'] = {
            'kind': 'toy_tokenizer', 'feature_size': 12, 'grid': [8, 12], 'token_size': 24}
    for name in ('predictor', 'joint'):
        recipe.stages[name].model['world'] = {
            'kind': 'toy_world', 'token_size': 24, 'noise_size': 6}
    for name in ('tokenizer', 'predictor', 'joint'):
        recipe.stages[name].trainer['max_steps'] = 2
    return recipe


def test_networks_of_one_file_train_export_and_run(toy_networks: None, tmp_path: Path) -> None:
    """The run ends in a bundle of the new sizes, whose graphs reproduce the golden arrays."""
    bundle = load_bundle(BundleRun(toy_recipe(), tmp_path / 'run', None).run())
    m = bundle.manifest
    assert (m.backbone, m.feature_rows, m.feature_columns) == ('toy', 8, 12)
    assert (m.feature_size, m.token_size, m.noise_size) == (12, 24, 6)
    assert len(m.rotary_frequencies) == 5
    assert not any('EfficientNet' in licence.component for licence in m.licences)
    assert check_parity(OnnxRuntimeEngine(bundle), bundle).passed


def test_unknown_kinds_are_named() -> None:
    """The message lists what is registered."""
    known = "unknown kind 'toy_tokenizer'; known: compact, delta, patches, warp$"
    with pytest.raises(UserError, match=known):
        registry.network_class('tokenizer', 'toy_tokenizer')
