# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks come back out of a bundle's graphs."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from support.network_bundle import network_bundle, trained_like, write_network_bundle

from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.bundle.manifest import write_manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.graph_weights import FOLDED, SIZES, WEIGHTS, name_weights

COMPACT = {
    'kind': 'compact', 'feature_size': 32, 'grid': [4, 6], 'token_size': 48, 'size': 64,
    'heads': 1, 'encoder_layers': 1, 'decoder_layers': 1, 'mlp_size': 64, 'code_channels': 8}


@pytest.fixture(scope='module')
def folder() -> Path:
    """Return the bundle of the networks of the street recipe."""
    return network_bundle()


def test_weights_come_back(folder: Path) -> None:
    """All but folded batch norms are those that were exported, to half precision."""
    expected, found = trained_like(), graph_networks(load_bundle(folder))
    assert found.sizes == expected.sizes
    for part in ('tokenizer', 'world'):
        state = found.parts()[part].state_dict()
        for name, value in expected.parts()[part].state_dict().items():
            assert torch.allclose(state[name], value, atol=1e-3, rtol=1e-3), f'{part}.{name}'
    frames = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        features, again = (one.backbone(frames) for one in (expected, found))
        assert torch.allclose(features, again, atol=0.05 * features.std())
        maps = features.transpose(1, 2).unflatten(2, (4, 6))
        for part in ('segmentation', 'depth'):
            first, second = (one.parts()[part](maps) for one in (expected, found))
            assert torch.allclose(first, second, rtol=0.02, atol=0.02), part


def test_other_kinds_come_back_too(tmp_path: Path) -> None:
    """No kind of network is known here: the compact tokenizer has buffers of its own."""
    networks = trained_like(COMPACT)
    with torch.no_grad():
        for code in (networks.tokenizer.delta_code, networks.tokenizer.anchor_code):
            code.channel_basis.normal_(0.0, 0.2)
            code.basis.normal_(0.0, 0.2)
    write_network_bundle(tmp_path / 'compact', networks)
    found = graph_networks(load_bundle(tmp_path / 'compact'))
    assert found.sizes['tokenizer'] == COMPACT
    assert torch.allclose(
        found.tokenizer.delta_code.basis, networks.tokenizer.delta_code.basis, atol=1e-3)


def test_gains_that_the_exporter_folds_are_noted() -> None:
    """Their values are in no constant: the graph holds what was computed with them."""
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokenizer = torch.nn.Linear(4, 300)
            self.tokenizer.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.tokenizer(x) * self.tokenizer.gain.exp()

    module = Scaled().eval()
    program = torch.onnx.export(module, (torch.ones(1, 4),), dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto
    name_weights(model, module, {'tokenizer': {'kind': 'scaled'}})
    notes = {note.key: json.loads(note.value) for note in model.metadata_props}
    assert set(notes[WEIGHTS]) == {'tokenizer.weight', 'tokenizer.bias'}
    assert notes[FOLDED] == {'tokenizer.gain': 0.5}
    assert notes[SIZES] == {'tokenizer': {'kind': 'scaled'}}


@pytest.mark.parametrize(('names', 'reason'), [
    ('none', 'do not name their weights.*give --networks'),
    ('one lacks', 'have no weights world.repeat.*give --networks'),
    ('no names', 'rollout.onnx: what it notes of its weights is wrong'),
    ('other sizes', 'of other sizes than its graphs note'),
    ('no sizes', 'build no networks')])
def test_graphs_without_names_are_refused(
        folder: Path, tmp_path: Path, names: str, reason: str) -> None:
    """As those of older versions: the message says what to give instead."""
    bundle = load_bundle(folder)
    other = tmp_path / 'other'
    other.mkdir()
    for name in bundle.manifest.files:
        (other / name).write_bytes(bundle.read(name))
    model = onnx.load(other / 'rollout.onnx')
    for note in model.metadata_props:
        if note.key == WEIGHTS and names == 'one lacks':
            note.value = note.value.replace('"world.repeat":', '"world.other":')
        if note.key == WEIGHTS and names == 'no names':
            note.value = '[]'
        if note.key == SIZES and names == 'other sizes':
            note.value = note.value.replace('"token_size": 48', '"token_size": 40')
        if note.key == SIZES and names == 'no sizes':
            note.value = '{}'
    if names == 'none':
        del model.metadata_props[:]
    onnx.save(model, other / 'rollout.onnx')
    write_manifest(other, bundle.manifest)
    with pytest.raises(UserError, match=reason):
        graph_networks(load_bundle(other))


def test_other_networks_than_the_golden_ones_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Code that changed since the export never starts a training."""
    monkeypatch.setattr('deltaworld_ros.model.residual_world.ResidualWorld.start',
                        lambda self, noise, last: self.noise_input(50.0 * noise))
    with pytest.raises(UserError, match='other future_tokens than the bundle .*give --networks'):
        graph_networks(load_bundle(folder))
