# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A sound bundle loads; a damaged or hostile one is refused with one clear error."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml

from deltaworld_ros.bundle import Manifest, find_bundle, load_bundle, write_manifest
from deltaworld_ros.errors import UserError


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = yaml.safe_load((folder / 'bundle.yaml').read_text())
    change(data)
    (folder / 'bundle.yaml').write_text(yaml.safe_dump(data))


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 1000
    assert str(folder) in text
    return text


def test_sound_bundle(tiny_bundle: Path) -> None:
    bundle = load_bundle(str(tiny_bundle))
    m = bundle.manifest
    assert m.leads == (0.2, 0.4, 0.6)
    assert m.num_patches == m.feature_rows * m.feature_columns
    assert m.classes[3].name == 'vehicle' and m.classes[3].role == 'dynamic'
    assert m.classes[0].color == (128, 64, 128)
    assert bundle.file('observe.onnx').is_file()
    with pytest.raises(UserError, match='no file'):
        bundle.file('../secret')


def test_graphs_take_batches(tiny_bundle: Path) -> None:
    m = load_bundle(tiny_bundle).manifest
    batch, futures = 2, 5
    rng = np.random.default_rng(0)
    feeds = {
        'features': rng.random((batch, m.num_patches, m.feature_size), np.float32),
        'tokens': rng.random((batch, futures, m.steps, m.token_size), np.float32),
        'weights': np.full((batch, futures), 1 / futures, np.float32)}
    session = onnxruntime.InferenceSession(
        str(tiny_bundle / 'decode.onnx'), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    together = session.run(names, feeds)
    for index in range(batch):
        alone = session.run(
            names, {name: array[index:index + 1] for name, array in feeds.items()})
        for first, second in zip(together, alone, strict=True):
            np.testing.assert_allclose(first[index], second[0], atol=1e-5)


def test_manifest_round_trip(folder: Path) -> None:
    before = load_bundle(folder).manifest
    (folder / 'weights.safetensors').write_bytes(b'more')
    written = write_manifest(folder, before)
    assert written.files['weights.safetensors'] == hashlib.sha256(b'more').hexdigest()
    assert load_bundle(folder).manifest == written
    assert 'python' not in (folder / 'bundle.yaml').read_text()


def test_find_bundle_by_shipped_name(
        tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('deltaworld_ros.bundle.load.BUNDLES_FOLDER', tmp_path / 'bundles')
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    with pytest.raises(UserError, match=r'shipped bundle \(none\)'):
        find_bundle('tiny')
    shutil.copytree(tiny_bundle, tmp_path / 'bundles' / 'tiny')
    (tmp_path / 'bundles' / 'no-manifest').mkdir()
    assert find_bundle('tiny') == tmp_path / 'bundles' / 'tiny'
    assert load_bundle('tiny').manifest.name == 'tiny'
    for wrong in ('no-manifest', '../tiny', 'x' * 5000, '~nobody-has-this-name/x', ''):
        if wrong:
            with pytest.raises(UserError, match=r'\(tiny\)'):
                find_bundle(wrong)


@pytest.mark.parametrize('name', [
    '../outside.onnx', '/etc/passwd', 'sub/observe.onnx', '..', '.hidden', 'a\\b', 'bundle.yaml',
    '', 'name with space', 'line\nbreak'])
def test_path_tricks(folder: Path, name: str) -> None:
    edit(folder, lambda data: data['files'].update({name: '0' * 64}))
    assert 'not a plain file name' in refusal(folder)


@pytest.mark.parametrize('digest', ['', 'abc', 'G' * 64, 'A' * 64])
def test_bad_digest(folder: Path, digest: str) -> None:
    edit(folder, lambda data: data['files'].update({'observe.onnx': digest}))
    assert 'no sha256 of 64' in refusal(folder)


def test_altered_file(folder: Path) -> None:
    content = bytearray((folder / 'rollout.onnx').read_bytes())
    content[100] ^= 1
    (folder / 'rollout.onnx').write_bytes(content)
    assert 'rollout.onnx: sha256 is' in refusal(folder)


def test_missing_file(folder: Path) -> None:
    (folder / 'decode.onnx').unlink()
    assert 'decode.onnx: listed in bundle.yaml but missing' in refusal(folder)


@pytest.mark.parametrize('make, says', [
    (os.mkfifo, 'is a pipe; must be a regular file'), (os.mkdir, 'is a folder'),
    (lambda path: os.symlink('/dev/zero', path), 'a link that leads out'),
    (lambda path: os.symlink('../elsewhere', path), 'a link that leads out'),
    (lambda path: os.symlink(path, path), 'missing'),
    (lambda path: os.symlink('nowhere', path), 'missing'),
])
@pytest.mark.parametrize('name', ['decode.onnx', 'weights.safetensors'])
def test_what_is_no_regular_file_is_not_opened(
        folder: Path, make: Callable[[Path], None], says: str, name: str) -> None:
    if not (folder / name).exists():
        (folder / name).write_bytes(b'')
    (folder.parent / 'elsewhere').write_bytes(b'')
    write_manifest(folder, load_bundle(folder).manifest)
    (folder / name).unlink()
    make(folder / name)
    assert f'{name}: ' in refusal(folder) and says in refusal(folder)


def test_links_inside_the_folder_are_followed(folder: Path) -> None:
    (folder / 'golden.npz').rename(folder / 'stored')
    (folder / 'golden.npz').symlink_to('stored')
    load_bundle(folder)


def test_unlisted_required_file(folder: Path) -> None:
    edit(folder, lambda data: data['files'].pop('golden.npz'))
    assert 'files: golden.npz missing' in refusal(folder)


def test_missing_manifest(tmp_path: Path) -> None:
    assert 'no such file' in refusal(tmp_path)


def test_manifest_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / 'bundle.yaml').mkdir()
    assert 'is a folder; must be a regular file' in refusal(tmp_path)


@pytest.mark.parametrize('target', ['/dev/zero', '/etc/passwd', '../secret.yaml'])
def test_manifest_that_leads_elsewhere_is_not_read(folder: Path, target: str) -> None:
    (folder.parent / 'secret.yaml').write_text('password: hunter2: yes')
    (folder / 'bundle.yaml').unlink()
    (folder / 'bundle.yaml').symlink_to(target)
    assert 'is a link that leads out of the bundle; put' in refusal(folder)


def test_manifest_that_is_a_pipe_does_not_block(folder: Path) -> None:
    (folder / 'bundle.yaml').unlink()
    os.mkfifo(folder / 'bundle.yaml')
    assert 'is a pipe' in refusal(folder)


@pytest.mark.parametrize('text', [
    'format: [1', 'a: b: c', '\t- x', '%YAML 9.9\n---\na: 1\n...\n- b', '"\\UFFFFFFFF"'])
def test_text_that_is_not_plain_yaml(folder: Path, text: str) -> None:
    (folder / 'bundle.yaml').write_text(text)
    assert 'not plain YAML' in refusal(folder)


@pytest.mark.parametrize('text', [
    '&a [*a, *b]', '{}: {', '[' * 3000, 'created: 2026-13-45',
    '!!python/object/apply:os.system ["touch hacked"]',
    '!!python/name:os.system', 'x: !unknown 3', 'steps: 1:30:30', 'steps: !!int ""'])
def test_more_than_plain_yaml_is_refused(folder: Path, text: str) -> None:
    (folder / 'bundle.yaml').write_text(text)
    refusal(folder)
    assert not Path('hacked').exists()


@pytest.mark.parametrize('content', [
    b'', b'just text', b'- 1\n- 2\n', b'3: 4\n', b'\xff\xfe\x00\x01', b'name: x\x00', b'null'])
def test_content_that_is_no_mapping(folder: Path, content: bytes) -> None:
    (folder / 'bundle.yaml').write_bytes(content)
    refusal(folder)


def test_manifest_too_large(folder: Path) -> None:
    (folder / 'bundle.yaml').write_text('# ' + 'x' * 1_000_000)
    assert 'larger than' in refusal(folder)


def test_aliases_do_not_explode(folder: Path) -> None:
    bomb = 'a: &a [x, x, x, x, x, x, x, x, x, x]\n'
    for before, after in zip('abcdefgh', 'bcdefghi', strict=True):
        bomb += f'{after}: &{after} [' + ', '.join([f'*{before}'] * 10) + ']\n'
    (folder / 'bundle.yaml').write_text(bomb + 'description: *i\n')
    refusal(folder)


@pytest.mark.parametrize('key, value, says', [
    ('format', 2, 'format'),
    ('format', None, 'format'),
    ('surprise', 1, 'surprise'),
    ('name', '', 'name'), ('name', '../../escaped', "name: '../../escaped' is not accepted"),
    ('name', '/tmp/escaped', 'name'), ('name', '.hidden', 'name'), ('name', 'a b', 'name'),
    ('name', '[bold]x[/nope]', 'name'), ('name', 'x' * 101, 'name'), ('name', 'a\nb', 'name'),
    ('image_width', 0, 'image_width'),
    ('image_width', 10 ** 9, 'image_width'),
    ('image_height', 'tall', 'image_height'),
    ('stride', float('nan'), 'stride'),
    ('stride', float('inf'), 'stride'),
    ('stride', -0.2, 'stride'),
    ('context_length', 1, 'context_length'),
    ('queries', 'sometimes', 'queries'),
    ('rotary_frequencies', [], 'rotary_frequencies: must be'),
    ('rotary_frequencies', [float('inf')], 'rotary_frequencies: must be'),
    ('rotary_frequencies', [-1.0], 'rotary_frequencies: must be'),
    ('temperatures', [1.0], 'temperatures: must be 4 numbers'),
    ('present_shares', [0.2], 'present_shares: must be 3 numbers'),
    ('present_shares', [0.2, 0.2, 1.0], 'present_shares: must be 3 numbers'),
    ('present_shares', [0.2, 0.2, float('nan')], 'present_shares: must be 3 numbers'),
    ('present_shares', 3 * [0.2], "present_shares: must be none but where fused is 'tokens'"),
    ('depth_maximum', 1.0, 'depth_maximum: must be greater'),
    ('selection_dimensions', 10_000, 'selection_dimensions: must be at most token_size (12)'),
    ('weight_temperature', 0, 'weight_temperature'),
    ('weight_temperature', float('nan'), 'weight_temperature'),
    ('num_futures', 33, 'num_futures: must be at most num_samples (32)'),
    ('classes', [], 'classes: must be 1 to 255'),
    ('classes', [{'name': 'a', 'color': [0, 0, 256], 'role': 'static'}], "color of 'a'"),
    ('classes', [{'name': 'a', 'color': [0, 0], 'role': 'static'}], 'classes.0.color'),
    ('classes', [{'name': 'a', 'color': [0, 0, 1], 'role': 'soft'}], 'classes.0.role'),
    ('classes', [{'name': 'a', 'color': [0, 0, 1], 'obstacle': 'no'}], 'classes.0.'),
    ('classes', [3], 'classes.0'),
    ('classes', 2 * [{'name': 'a', 'color': [0, 0, 1], 'role': 'static'}], 'same name'),
    ('licences', [{'name': 'MIT'}], 'licences.0.component'),
    ('files', ['observe.onnx'], 'files'),
])
def test_bad_value(folder: Path, key: str, value: object, says: str) -> None:
    edit(folder, lambda data: data.update({key: value}))
    assert says in refusal(folder)


def test_classes_of_older_bundles_get_roles(folder: Path) -> None:
    """Up to 0.1.0 a class had a flag; where its name is known, the list tells its role."""
    flags = {'road': False, 'building': False, 'pole': True, 'person': True,
             'gate': False, 'drone': True}
    edit(folder, lambda data: data.update(classes=[
        {'name': name, 'color': [number, 0, 0], 'obstacle': flag}
        for number, (name, flag) in enumerate(flags.items())]))
    classes = load_bundle(folder).manifest.classes
    assert {entry.name: entry.role for entry in classes} == {
        'road': 'traversable', 'building': 'static', 'pole': 'static', 'person': 'dynamic',
        'gate': 'static', 'drone': 'dynamic'}


def test_older_bundles_keep_the_shares_as_weights(folder: Path) -> None:
    edit(folder, lambda data: data.pop('weight_temperature') and None)
    assert load_bundle(folder).manifest.weight_temperature == 1


def test_missing_keys_are_counted(folder: Path) -> None:
    edit(folder, lambda data: [data.pop(key) for key in list(data) if key != 'format'] and None)
    text = refusal(folder)
    assert 'name: ' in text and 'more)' in text


def test_export_cannot_write_a_contradiction(folder: Path) -> None:
    manifest = load_bundle(folder).manifest
    (folder / 'golden.npz').unlink()
    with pytest.raises(UserError, match='golden.npz missing'):
        write_manifest(folder, manifest)
    values = {name: getattr(manifest, name) for name in yaml.safe_load(
        (folder / 'bundle.yaml').read_text())}
    with pytest.raises(UserError, match='depth_maximum'):
        write_manifest(folder, Manifest(**{**values, 'depth_maximum': 0.5}))


@pytest.mark.parametrize(('name', 'says'), [
    ('', "bundle '': neither a folder nor a shipped bundle (street-lite0)"),
    (' ', "bundle ' ': neither a folder nor a shipped bundle (street-lite0)"),
    ('bundle.yaml', 'is a file; a bundle is the folder of its files')])
def test_names_that_are_no_folder(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch,
                                  name: str, says: str) -> None:
    monkeypatch.chdir(tiny_bundle)
    with pytest.raises(UserError) as caught:
        load_bundle(name)
    assert says in str(caught.value)
