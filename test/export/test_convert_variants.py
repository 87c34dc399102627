# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every variant that the released code trains becomes a bundle that computes what it computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from support.parameter_values import fill
from support.released_files import write_tiny_release
from support.tiny_bundle import fading_frames
from torch import Tensor
from typer.testing import CliRunner, Result

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.cli import app
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.convert import read_networks
from deltaworld_ros.export.converted_bundle import bundle_networks, converted_manifest
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_ros.model.spatial_world import SpatialWorld
from deltaworld_training.stages.parts import save_parts

# The exporter takes minutes where others use the processor too.
pytestmark = pytest.mark.timeout(1200)
SIZE, GRID = (64, 96), (4, 6)
TIMES = [-0.61, -0.4, -0.19, 0.0, 0.2, 0.4, 0.6]


@pytest.fixture(scope='module')
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    return write_tiny_release(tmp_path_factory.mktemp('release'))


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)
    return {name.removeprefix('network.'): value
            for name, value in state.get('state_dict', state).items()}


def convert(release: dict[str, Path], output: Path, **options: str) -> Result:
    """Run the command on released files; `options` name the parts and what the tokens are."""
    given = {
        'backbone': release['backbone'], 'seg-head': release['cityscapes'],
        'depth-head': release['depth'], 'size': '96x64', 'output': output,
        'json': output.with_suffix('.json'),
        **{name: release.get(value, value) for name, value in options.items()}}
    return CliRunner().invoke(
        app, ['convert', *(str(word) for name, value in given.items()
                           for word in (f'--{name}', value))])


def observed(run: Callable[[str, dict[str, Tensor]], list[Tensor]], m: Manifest) -> list[Tensor]:
    """Run the three graphs on four frames; return features, tokens, noise and decoded futures."""
    frames = torch.randint(0, 256, (4, *SIZE, 3), dtype=torch.uint8)
    previous = torch.zeros(1, 24, 192)
    kept, tokens = [], []
    for index, frame in enumerate(frames):
        previous, delta, anchor = run(
            'observe', {'image': frame[None], 'previous_features': previous})
        kept.append(previous)
        tokens.append(delta if index else anchor)
    features, context = torch.cat(kept)[None], torch.stack(tokens, dim=1)
    with torch.no_grad():
        backbone = fill(DinoV3(192, 3, 2, 768), 'backbone')
        torch.testing.assert_close(
            features[0], backbone(frames.permute(0, 3, 1, 2)), atol=1e-4, rtol=0.0)
    noise = m.noise_std * torch.randn(1, 3, 3, m.noise_size)
    cos, sin = (torch.from_numpy(part)[None] for part in time_tables(TIMES, m.rotary_frequencies))
    [futures] = run('rollout', {
        'tokens': context, 'rotary_cos': cos, 'rotary_sin': sin, 'noise': noise})
    decoded = run('decode', {
        'features': previous, 'tokens': futures, 'weights': torch.full((1, 3), 1 / 3)})[5]
    return [features, context, noise, decoded]


def test_frame_tokens_and_a_learned_query(release: dict[str, Path]) -> None:
    """Both options that no name or shape of a tokenizer's file tells, in one bundle's graphs."""
    converted = read_networks(
        files(release, tokenizer='frame-tokenizer', world='discriminative'),
        {'one': str(release['cityscapes'])}, {}, SIZE, 'frame')
    assert converted.assumed == [
        'Taken as frame tokens because of --tokens; the files do not tell',
        'The predictor has one learned query: it forecasts a single future']
    m = converted_manifest(converted, 'frames')
    assert (m.num_samples, m.num_futures) == (1, 1)
    modules = graph_modules(converted.networks, m)
    with torch.no_grad():
        features, tokens, noise, decoded = observed(
            lambda name, given: modules[name](*given.values())
            if name != 'rollout' else [modules[name](*given.values())], m)
        tokenizer = DeltaTok(192, 3, 2, 512, frame_tokens=True)
        tokenizer.load_state_dict(weights(release['frame-tokenizer']))
        world = DeltaWorld(192, 3, 2, 768, learned_query=True)
        world.load_state_dict(weights(release['discriminative']))
        table = time_table(torch.tensor([TIMES], dtype=torch.float64), time_frequencies())
        expected = tokenizer.encode(torch.zeros(4, 24, 192), features[0], GRID)
        torch.testing.assert_close(tokens[0], expected, atol=1e-4, rtol=0.0)
        future = world.rollout(tokens, table, noise).flatten(0, 2)
        frames = tokenizer.decode(future, torch.zeros(9, 24, 192), GRID).unflatten(0, (3, 3))
    torch.testing.assert_close(decoded[0], frames, atol=1e-4, rtol=0.0)
    assert float(frames.std()) > 0.1


@pytest.mark.parametrize('learned', [False, True])
def test_dino_world(release: dict[str, Path], tmp_path: Path, learned: bool) -> None:
    """
    Its tokens are whole frames: samples of best-of-many, or one future of a learned query.

    The first goes through the command and ONNX Runtime, the second through the graphs in torch.
    """
    world = SpatialWorld(192, 3, 2, 768, learned_query=learned)
    if learned:
        converted = read_networks(
            files(release, world='dino-world'), {'one': str(release['cityscapes'])}, {}, SIZE,
            'patch')
        m = converted_manifest(converted, 'patches')
        modules = graph_modules(converted.networks, m)
        world.load_state_dict(weights(release['dino-world']))

        def run(name: str, given: dict[str, Tensor]) -> list[Tensor]:
            with torch.no_grad():
                found = modules[name](*given.values())
            return [found] if name == 'rollout' else list(found)
    else:
        result = convert(
            release, tmp_path / 'bom', predictor='dino-world-bom', tokens='patch')
        assert result.exit_code == 0, (result.output, result.exception)
        said = 'Taken as patch tokens because of --tokens; the files do not tell'
        assert json.loads((tmp_path / 'bom.json').read_text())['assumed'] == [said]
        assert said in ' '.join(result.stderr.split())
        bundle = load_bundle(tmp_path / 'bom')
        m = bundle.manifest
        world.load_state_dict(weights(release['dino-world-bom']))
        sessions = {name: onnxruntime.InferenceSession(bundle.file(f'{name}.onnx'))
                    for name in ('observe', 'rollout', 'decode')}
        networks, _ = bundle_networks(bundle)
        assert networks.world.grid == networks.tokenizer.grid == GRID
        engine = load_engine(bundle, 'onnxruntime', threads=1)
        forecaster = Forecaster(engine, m)
        for index, frame in enumerate(fading_frames(m, 8)):
            forecaster.observe(frame, 0.1 * index)
        assert forecaster.forecast().labels.shape == (6, 3, 32, 48)
        engine.close()

        def run(name: str, given: dict[str, Tensor]) -> list[Tensor]:
            return [torch.from_numpy(array) for array in sessions[name].run(
                None, {key: value.numpy() for key, value in given.items()})]
    assert (m.token_size, len(m.rotary_frequencies)) == (24 * 192, 10)
    assert (m.num_samples, m.num_futures) == ((1, 1) if learned else (20, 6))
    features, tokens, noise, decoded = observed(run, m)
    assert torch.equal(tokens, features.flatten(2))
    with torch.no_grad():
        expected = world.rollout(
            features, torch.tensor([TIMES], dtype=torch.float64), noise, GRID)
    torch.testing.assert_close(decoded, expected, atol=1e-4, rtol=0.0)
    assert float(expected.std()) > 0.1


def files(release: dict[str, Path], **parts: str) -> dict[str, str]:
    named = {'backbone': 'backbone', 'depth': 'depth', **parts}
    return {part: str(release.get(name, name)) for part, name in named.items()}


@pytest.mark.parametrize('parts, tokens, says', [
    ({'tokenizer': 'tokenizer', 'world': 'predictor'}, None,
     'deltatok.bin: nothing in it tells what the tokens are; say which with --tokens: delta'),
    ({'tokenizer': 'frame-tokenizer', 'world': 'predictor'}, None, 'frametok.bin: nothing in it'),
    ({'world': 'dino-world'}, None, 'dinoworld.bin: nothing in it tells'),
    ({'world': 'predictor'}, 'delta', '--tokens delta: needs the tokenizer'),
    ({'tokenizer': 'tokenizer', 'world': 'dino-world'}, 'patch', 'leave --tokenizer out'),
])
def test_what_no_file_tells_is_asked_for(
        release: dict[str, Path], parts: dict[str, str], tokens: str | None, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read_networks(files(release, **parts), {'one': str(release['cityscapes'])}, {}, SIZE,
                      tokens)  # type: ignore[arg-type]
    assert says in str(caught.value) and '\n' not in str(caught.value)


def test_our_own_files_tell(release: dict[str, Path], tmp_path: Path) -> None:
    """Sizes in the metadata need no --tokens, and a contradiction to them is refused."""
    world = SpatialWorld(192, 3, 1, 96)
    sizes = {'kind': 'spatial', 'size': 192, 'heads': 3, 'layers': 1, 'mlp_size': 96}
    save_parts(tmp_path / 'world.safetensors', {
        f'world.{name}': value for name, value in world.state_dict().items()},
        {'world': sizes}, {})
    head = {'one': str(release['cityscapes'])}
    own = files(release, world=str(tmp_path / 'world.safetensors'))
    converted = read_networks(own, head, {}, SIZE)
    assert converted.networks.sizes['world']['kind'] == 'patches'
    assert converted.assumed == [
        'The predictor has one learned query: it forecasts a single future']
    with pytest.raises(UserError, match=r'--tokens delta: .*world\.safetensors holds patch'):
        read_networks(own, head, {}, SIZE, 'delta')
    with pytest.raises(UserError, match='is DINO-world, which has no tokenizer'):
        read_networks({**own, 'tokenizer': str(release['tokenizer'])}, head, {}, SIZE)
    narrow = save_narrow(tmp_path)
    with pytest.raises(UserError, match='features have the width 192: the predictor is for 128'):
        read_networks(files(release, world=str(narrow)), head, {}, SIZE, 'patch')


def save_narrow(folder: Path) -> Path:
    torch.save(SpatialWorld(128, 2, 1, 64).state_dict(), folder / 'narrow.bin')
    return folder / 'narrow.bin'


def test_the_option_takes_three_words(release: dict[str, Path], tmp_path: Path) -> None:
    result = convert(release, tmp_path / 'x', tokenizer='tokenizer', predictor='predictor',
                     tokens='change')
    assert str(result.exception) == "--tokens 'change': must be delta, frame or patch"
