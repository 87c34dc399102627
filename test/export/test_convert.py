# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files in the released layout become a bundle that computes what the networks compute."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.bags import write_drive
from support.released_files import random_tensors, write_tiny_release
from support.tiny_bundle import fading_frames
from torch import Tensor

from deltaworld_ros import cli
from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.class_lists import CITYSCAPES, STREET, VSPW, class_list
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine import Engine, PaintingGraph, load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.convert import read_networks
from deltaworld_ros.export.converted_bundle import bundle_networks
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table

# The exporter takes minutes where others use the processor too.
pytestmark = pytest.mark.timeout(1200)
DATA = Path(__file__).resolve().parents[1] / 'data'
# The limit of the golden tensors: both sides are float32, summed in another order.
GOLDEN_TOLERANCE = 2e-4


@pytest.fixture(scope='module', autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_release(tmp_path_factory.mktemp('release'))


@pytest.fixture(scope='module')
def converted(release: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Convert the files once, by the command."""
    folder = tmp_path_factory.mktemp('converted') / 'tiny-vit'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [
            'deltaworld', 'convert', '--tokenizer', str(release['tokenizer']),
            '--tokens', 'delta', '--predictor', str(release['predictor']),
            '--backbone', str(release['backbone']),
            '--seg-head', f'vspw={release["vspw"]}',
            '--seg-head', f'streets={release["cityscapes"]}', '--head', 'streets',
            '--depth-head', str(release['depth']), '--rgb-head', str(release['rgb']),
            '--size', '96x64', '--output', str(folder),
            '--json', str(folder.parent / 'report' / 'converted.json')])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code
    report = json.loads((folder.parent / 'report' / 'converted.json').read_text())
    assert report['heads'] == ['streets', 'vspw']
    assert 'Taken as delta tokens because of --tokens' in report['assumed'][0]
    return load_bundle(folder)


@pytest.fixture(scope='module')
def engine(converted: Bundle) -> Engine:
    return load_engine(converted, 'onnxruntime', threads=1)


def test_the_manifest_says_what_was_converted(
        converted: Bundle, release: dict[str, Path]) -> None:
    m = converted.manifest
    assert (m.name, m.backbone) == ('tiny-vit', 'dinov3_vit16_192')
    assert (m.image_width, m.image_height, m.feature_columns, m.feature_rows) == (96, 64, 6, 4)
    assert (m.feature_size, m.token_size, m.noise_size) == (192, 192, 192)
    assert (m.stride, m.steps, m.context_length, m.queries) == (0.2, 3, 4, 'fresh')
    assert m.classes == CITYSCAPES
    assert m.focal_length == pytest.approx(798.56 * 64 / 512, rel=1e-4)
    assert any(licence.name == 'DINOv3 License' for licence in m.licences)
    assert 'baselines.npz' not in m.files
    sources = '\n'.join(m.sources)
    for part in ('backbone', 'tokenizer', 'world', 'segmentation', 'depth'):
        assert f'{part}: ' in sources
    assert 'deltatok.bin, sha256 ' in sources and str(release['tokenizer'].parent) not in sources


def test_the_graphs_reproduce_the_golden_tensors(converted: Bundle, engine: Engine) -> None:
    """From released files to graphs, every array is what the released implementation computed."""
    with np.load(DATA / 'tiny.npz', allow_pickle=False) as archive:
        golden = {name: archive[name] for name in archive.files}
    frames = golden['frames'][0, :4].transpose(0, 2, 3, 1)
    features, tokens = None, []
    for index, frame in enumerate(frames):
        features, delta, anchor = engine.observe(np.ascontiguousarray(frame), features)
        tokens.append(delta if index else anchor)
        assert np.abs(engine.features_to_host(features) - golden['features'][0, index]
                      ).max() < GOLDEN_TOLERANCE
    assert np.abs(np.stack(tokens) - golden['delta_tokens'][0, :4]).max() < GOLDEN_TOLERANCE

    times = golden['timestamps'][0, :7]
    noise = golden['noise'][:, 0, :, 0].transpose(1, 0, 2)
    tables = time_tables(times - times[3], converted.manifest.rotary_frequencies)
    futures = engine.rollout(np.stack(tokens), *tables, np.ascontiguousarray(noise))
    weights = np.full(len(futures), 1 / len(futures), np.float32)
    decoded = engine.decode(features, futures, weights, ('future_features',))
    assert np.abs(decoded['future_features'] - golden['predictions'][0]).max() < GOLDEN_TOLERANCE


def test_it_forecasts_with_all_of_its_classes(converted: Bundle, engine: Engine) -> None:
    m = converted.manifest
    forecaster = Forecaster(engine, m, num_samples=16, num_futures=3)
    for index, frame in enumerate(fading_frames(m, 8)):
        forecaster.observe(frame, 0.1 * index)
    forecast = forecaster.forecast()
    assert forecast.fused_labels.shape == (4, 32, 48) and forecast.fused_labels.max() < 19
    assert ((forecast.fused_depth > 1e-3) & (forecast.fused_depth < 80)).all()


def test_it_paints_its_likeliest_future(converted: Bundle, engine: Engine) -> None:
    assert 'painter.safetensors' in converted.manifest.files
    painter = PaintingGraph.of(converted, threads=1)
    assert painter is not None
    with np.load(converted.file('golden.npz')) as golden:
        features, picture = golden['features'][-1:], golden['picture']
    assert picture.std() > 10.0
    assert np.abs(painter.paint(features).astype(int) - picture).max() <= 1
    forecaster = Forecaster(engine, converted.manifest, num_samples=8, num_futures=2,
                            painter=painter)
    for index, frame in enumerate(fading_frames(converted.manifest, 8)):
        forecaster.observe(frame, 0.1 * index)
    tokens, _, _ = forecaster.sample_futures()
    forecast = forecaster.forecast(pictures=(1, 3))
    assert list(forecast.pictures) == [1, 3] and forecast.timings['paint'] > 0.0
    ahead = engine.decode(forecaster.features, tokens, forecast.weights, ('future_features',))
    expected = painter.paint(ahead['future_features'][0, [0, 2]])
    for lead, wanted in zip((1, 3), expected, strict=True):
        assert forecast.pictures[lead].shape == (64, 96, 3)
        assert np.abs(forecast.pictures[lead].astype(int) - wanted).max() <= 1
    with pytest.raises(UserError, match='has no painter'):
        Forecaster(engine, converted.manifest)._paint(tokens[:1], (1,), {})


def test_evaluation_leaves_out_the_baselines_that_it_lacks(
        converted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_drive(tmp_path / 'bag', fading_frames(converted.manifest, 16), interval=0.1)
    monkeypatch.setattr(sys, 'argv', [
        'deltaworld', 'evaluate', str(bag), '--bundle', str(converted.path), '--samples', '8',
        '--futures', '2', '--threads', '1', '--engine', 'onnxruntime',
        '--json', str(tmp_path / 'scores.json'), '--report', str(tmp_path / 'report')])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    scores = json.loads((tmp_path / 'scores.json').read_text())['leads']['0.6']
    assert {'fused', 'copy_last', 'oracle'} < scores['miou'].keys()
    assert not {'blur', 'mean_token'} & scores['miou'].keys()
    assert 'mean_token' not in capsys.readouterr().out
    report = (tmp_path / 'report' / 'report.html').read_text()
    assert 'painted from their features' in report and 'Future 1, painted' in report


def test_another_head_can_be_taken_from_the_bundle(
        converted: Bundle, release: dict[str, Path]) -> None:
    networks, classes = bundle_networks(converted, 'vspw')
    assert classes == VSPW and networks.sizes['segmentation']['classes'] == 124
    original = torch.load(release['vspw'], weights_only=True)
    for name, value in networks.segmentation.state_dict().items():
        assert torch.equal(value, original[f'network.{name}'])
    own, classes = bundle_networks(converted)
    assert classes == CITYSCAPES and own.sizes['segmentation']['classes'] == 19
    assert torch.equal(own.tokenizer.black, networks.tokenizer.black)
    assert own.tokenizer.black.abs().max() > 0
    with pytest.raises(UserError, match=r"no head 'kitti'; it has: streets, vspw"):
        bundle_networks(converted, 'kitti')


def test_a_folder_in_use_is_left_alone(converted: Bundle, release: dict[str, Path]) -> None:
    before = sorted(converted.path.iterdir())
    error = convert_error(release, '--output', str(converted.path), '--size', '96x64')
    assert 'is not empty' in error
    assert sorted(converted.path.iterdir()) == before


def convert_error(release: dict[str, Path], *arguments: str) -> str:
    """Return the one line with which the command ends in this process."""
    options = {'--tokenizer': release['tokenizer'], '--tokens': 'delta',
               '--predictor': release['predictor'],
               '--backbone': release['backbone'], '--seg-head': release['cityscapes'],
               '--depth-head': release['depth'], '--output': release['depth'].parent / 'out'}
    given = {**{name: str(value) for name, value in options.items()},
             **dict(zip(arguments[::2], arguments[1::2], strict=True))}
    with pytest.raises(UserError) as caught:
        cli.app(['convert', *(word for pair in given.items() for word in pair)],
                standalone_mode=False)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('arguments, says', [
    (('--tokenizer', 'nowhere.bin'), "'nowhere.bin': no such file; accepted"),
    (('--size', 'large'), 'must be N or WIDTHxHEIGHT'),
    (('--size', '100'), 'multiples of 16'),
    (('--size', '99984'), 'multiples of 16'),
    (('--head', 'vspw'), "--head 'vspw': must be one of head"),
    (('--classes', 'vspw'), "has 19 classes, the list 'vspw' has 124"),
    (('--classes', 'other=vspw'), "there is no head 'other'"),
    (('--classes', 'nowhere.yaml'), 'accepted: vspw (124), cityscapes (19), street (10)'),
], ids=lambda value: value[-1] if isinstance(value, tuple) else '')
def test_a_wrong_option_is_one_clear_error(
        release: dict[str, Path], arguments: tuple[str, ...], says: str) -> None:
    assert says in convert_error(release, *arguments)


def test_parts_of_different_models_are_refused(
        release: dict[str, Path], tmp_path: Path) -> None:
    torch.save(DepthHead(128).state_dict(), tmp_path / 'depth.bin')
    error = convert_error(release, '--depth-head', str(tmp_path / 'depth.bin'), '--size', '64')
    assert 'features have the width 192: the depth head is for 128' in error
    torch.save(DeltaWorld(128, 2, 1, 256).state_dict(), tmp_path / 'world.bin')
    error = convert_error(release, '--predictor', str(tmp_path / 'world.bin'), '--size', '64')
    assert 'tokens have the width 192: the predictor is for 128' in error
    error = convert_error(release, '--tokenizer', str(release['predictor']))
    assert 'missing: z_embed.weight; it looks like a predictor' in error


def test_class_lists() -> None:
    assert [len(entries) for entries in (VSPW, CITYSCAPES, STREET)] == [124, 19, 10]
    for entries in (VSPW, CITYSCAPES, STREET):
        assert len({one.name for one in entries}) == len({one.color for one in entries}) \
            == len(entries)
        assert {one.role for one in entries} == {'traversable', 'static', 'dynamic'}
    numbers = {1: 'wall', 19: 'road', 29: 'sky', 49: 'car', 61: 'person', 124: 'train'}
    assert {number: VSPW[number - 1].name for number in numbers} == numbers
    with pytest.raises(UserError, match='has 21 classes, no known list'):
        class_list(None, 21, 'head')


@pytest.mark.parametrize('text, says', [
    ('[a, b]', ''), ('- {name: a, color: [1, 2, 3], role: static}\n- b', ''),
    ('[a]', 'has 2 classes, the list'), ('3', 'must be a YAML list'), ('[a, [b]]', 'must be'),
    ('a: [', 'must be a YAML list'), ('[a, {name: b}]', 'must be a YAML list')])
def test_classes_of_a_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / 'classes.yaml'
    path.write_text(text)
    if not says:
        assert [one.name for one in class_list(str(path), 2, 'head')] == ['a', 'b']
    else:
        with pytest.raises(UserError, match=says):
            class_list(str(path), 2, 'head')


def test_without_torch_the_command_says_what_to_install(tmp_path: Path) -> None:
    program = (
        'import sys\n'
        'sys.modules["torch"] = None\n'
        'from deltaworld_ros.cli import main\n'
        'names = ("tokenizer", "predictor", "backbone", "seg-head", "depth-head", "output")\n'
        'sys.argv = ["deltaworld", "convert", *(w for n in names for w in ("--" + n, "x"))]\n'
        'main()\n')
    done = subprocess.run([sys.executable, '-c', program], cwd=tmp_path, capture_output=True,
                          text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert 'convert needs the module torch' in done.stderr and 'Traceback' not in done.stderr


def test_vit_b_in_the_released_layout_equals_the_networks(tmp_path: Path) -> None:
    """Every name and shape of ViT-B is accounted for, and all outputs agree within 1e-4."""
    shapes = json.loads((DATA / 'vitb_keys.json').read_text())
    shapes['vspw_head'] = {**shapes['seg_head'], 'head.weight': [124, 768, 1, 1],
                           'head.bias': [124]}
    files = {}
    for seed, (name, prefix) in enumerate((
            ('backbone', ''), ('deltatok', 'network.'), ('deltaworld', 'network.'),
            ('seg_head', 'network.'), ('vspw_head', 'network.'), ('depth_head', 'network.'))):
        tensors = {prefix + key: value
                   for key, value in random_tensors(shapes[name], seed).items()}
        files[name] = str(tmp_path / f'{name}.{"safetensors" if not prefix else "bin"}')
        if prefix:
            torch.save(tensors, files[name])
        else:
            save_file(tensors, files[name])
        del tensors

    def original(name: str, module: torch.nn.Module) -> torch.nn.Module:
        seed = list(files).index(name)
        module.load_state_dict(random_tensors(shapes[name], seed), assign=True)
        return module.eval()

    height, width, grid = 64, 96, (4, 6)
    converted = read_networks(
        {'backbone': files['backbone'], 'tokenizer': files['deltatok'],
         'world': files['deltaworld'], 'depth': files['depth_head']},
        {'cityscapes': files['seg_head'], 'vspw': files['vspw_head']}, {}, (height, width),
        'delta')
    networks = converted.networks
    generator = torch.Generator().manual_seed(9)
    images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)
    noise = 0.02 * torch.randn(1, 2, 1, 768, generator=generator)
    table = time_table(torch.tensor([[-0.2, 0.0, 0.2]], dtype=torch.float64), time_frequencies())
    differences = {}

    def compare(name: str, ours: Tensor, expected: Tensor) -> None:
        assert ours.shape == expected.shape and float(expected.std()) > 1e-3
        differences[name] = float((ours - expected).abs().max())

    with torch.inference_mode():
        features = networks.backbone(images)
        tokens = torch.stack([networks.tokenizer.encode_anchor(features[:1]),
                              networks.tokenizer.encode(features[:1], features[1:])], dim=1)
        futures = networks.world.rollout(tokens, table, noise)
        decoded = networks.tokenizer.decode(futures[:, 0, 0], features[1:])
        maps = decoded.transpose(1, 2).unflatten(2, grid)
        logits = {name: head.module(maps) for name, head in converted.heads.items()}
        depth = networks.depth(maps)
        # One network at a time: all of them twice would be 3 GB.
        del networks, converted

        backbone = original('backbone', DinoV3())
        compare('features', features, backbone(images))
        black = backbone(torch.zeros_like(images[:1]))
        with torch.device('meta'):
            tokenizer, world = DeltaTok(), DeltaWorld()
        tokenizer = original('deltatok', tokenizer)
        compare('tokens', tokens, torch.stack([
            tokenizer.encode(black, features[:1], grid),
            tokenizer.encode(features[:1], features[1:], grid)], dim=1))
        compare('decoded', decoded, tokenizer.decode(futures[:, 0, 0], features[1:], grid))
        del tokenizer
        compare('futures', futures, original('deltaworld', world).rollout(tokens, table, noise))
        for name, key, classes in (('cityscapes', 'seg_head', 19), ('vspw', 'vspw_head', 124)):
            compare(name, logits[name], original(key, SegmentationHead(768, classes))(maps))
        compare('depth', depth, original('depth_head', DepthHead(768))(maps))
    assert max(differences.values()) < 1e-4, differences
