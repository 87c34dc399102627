# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broken and hostile files are refused in one line; nothing in them is executed."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import struct
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from deltaworld_ros import cli
from deltaworld_ros.bundle import load_bundle, write_manifest
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import load_part
from deltaworld_ros.export.checkpoints import read_checkpoint
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.heads import DepthHead, SegmentationHead

MUTATIONS = 300


class RunsCode:
    """What a hostile pickle holds: a call that the reader would make."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), 'w')


def head_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return SegmentationHead(64, 3).state_dict()


def refusal(path: Path, part: str = 'segmentation', **chosen: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_part(read_checkpoint(path, part), **chosen)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 2000 and str(path.name) in text
    return text


def test_a_pickle_with_code_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / 'executed'
    for number, content in enumerate((
            RunsCode(marker), {**head_state(), 'x': RunsCode(marker)},
            {'state_dict': RunsCode(marker)})):
        path = tmp_path / f'evil{number}.bin'
        torch.save(content, path)
        assert 'refers to' in refusal(path)
        path.with_suffix('.ckpt').write_bytes(pickle.dumps(content))
        assert 'not a file of torch.save' in refusal(path.with_suffix('.ckpt'))
    assert not marker.exists()
    # The same file does run where code is allowed, so the marker proves something.
    torch.load(tmp_path / 'evil0.bin', weights_only=False)
    assert marker.exists()


def test_the_command_ends_in_one_line(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / 'executed'
    torch.save({'x': RunsCode(marker)}, tmp_path / 'evil.bin')
    words = ['deltaworld', 'convert', '--output', str(tmp_path / 'out')]
    for name in ('tokenizer', 'predictor', 'backbone', 'seg-head', 'depth-head'):
        words += [f'--{name}', str(tmp_path / 'evil.bin')]
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    errors = capsys.readouterr().err
    assert stop.value.code == 1 and 'Traceback' not in errors
    assert 'code never is' in errors.splitlines()[-1]
    assert not marker.exists() and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.9, 0.999])
def test_files_that_are_cut_off(tmp_path: Path, share: float) -> None:
    torch.save(head_state(), tmp_path / 'head.bin')
    save_file(head_state(), tmp_path / 'head.safetensors')
    for name in ('head.bin', 'head.safetensors'):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:int(len(content) * share)])
        assert 'or cut off' in refusal(tmp_path / name)


def safetensors_header(path: Path, header: dict[str, Any], data: bytes = b'') -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + data)
    return path


def test_shapes_that_a_file_only_claims(tmp_path: Path) -> None:
    path = tmp_path / 'head.safetensors'
    for shape, offsets in (([10**9, 10**9, 1, 1], [0, 8]), ([2**62, 4, 1, 1], [0, 8]),
                           ([2, 1, 1, 1], [0, 2**63]), ([2, 1, 1, 1], [8, 0]),
                           ([10**15, 64, 1, 1], [0, 10**17])):
        safetensors_header(path, {
            'head.weight': {'dtype': 'F32', 'shape': shape, 'data_offsets': offsets}}, bytes(8))
        assert 'not a readable safetensors file' in refusal(path)
    safetensors_header(path, {'head.weight': {
        'dtype': 'F32', 'shape': [10**12, 0, 1, 1], 'data_offsets': [0, 0]}})
    assert 'none of them 0' in refusal(path)
    path.write_bytes(struct.pack('<Q', 2**62) + b'{}')
    assert 'not a readable safetensors file' in refusal(path)

    state = head_state()
    # One number that is repeated without taking memory: 4 TB once it is copied.
    state['head.weight'] = torch.zeros(1, 1, 1, 1).expand(10**6, 10**6, 1, 1)
    torch.save(state, tmp_path / 'head.bin')
    assert 'claim' in refusal(tmp_path / 'head.bin')


def test_an_archive_that_inflates(tmp_path: Path) -> None:
    torch.save(head_state(), tmp_path / 'plain.bin')
    with zipfile.ZipFile(tmp_path / 'plain.bin') as plain, zipfile.ZipFile(
            tmp_path / 'head.bin', 'w', zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert 'is compressed' in refusal(tmp_path / 'head.bin')


@pytest.mark.parametrize('change, says', [
    (lambda s: s.pop('bn.running_mean'), 'missing: bn.running_mean'),
    (lambda s: s.pop('head.weight'), 'missing: head.weight'),
    (lambda s: s.update(extra=torch.zeros(2)), 'unknown: extra'),
    (lambda s: s.update({'bn.weight': torch.zeros(65)}), 'bn.weight [65] must be [64]'),
    (lambda s: s.update({'bn.weight': torch.zeros(8, 8)}), 'bn.weight [8, 8] must be [64]'),
    (lambda s: s.update({'head.weight': torch.zeros(3, 64)}), 'must have 4 dimensions'),
    (lambda s: s['head.bias'].fill_(torch.nan), 'NaN or infinite: head.bias'),
    (lambda s: s['bn.weight'].fill_(torch.inf), 'NaN or infinite: bn.weight'),
    (lambda s: s.update({'head.bias': torch.full((3,), 1e300, dtype=torch.float64)}),
     'NaN or infinite: head.bias'),
    (lambda s: s['bn.running_var'].fill_(-1.0), 'negative variance: bn.running_var'),
    (lambda s: s.update({'head.bias': torch.zeros(3, dtype=torch.bool)}), 'is of torch.bool'),
    (lambda s: s.update({'network.head.bias': torch.zeros(3)}), "holds 'head.bias' twice"),
    (lambda s: s.clear(), 'holds no tensors'),
])
@pytest.mark.parametrize('suffix', ['bin', 'safetensors'])
def test_tensors_that_do_not_fit(tmp_path: Path, suffix: str, change: Any, says: str) -> None:
    state = head_state()
    change(state)
    path = tmp_path / f'head.{suffix}'
    torch.save(state, path) if suffix == 'bin' else save_file(state, path)
    assert says in refusal(path)


def test_all_problems_are_in_one_line(tmp_path: Path) -> None:
    state = {f'network.{name}': value for name, value in DeltaTok(64, 1, 2, 128).state_dict(
        ).items() if not name.startswith('decoder_blocks.1')}
    state['network.what'] = torch.zeros(1)
    state['network.norm.weight'] = torch.zeros(3)
    torch.save(state, tmp_path / 'tokenizer.bin')
    text = refusal(tmp_path / 'tokenizer.bin', 'tokenizer', grid=(2, 2))
    assert 'unknown: what' in text and 'norm.weight [3] must be [64]' in text
    assert 'missing: decoder_blocks.1.' in text and 'and 18 more' in text


@pytest.mark.parametrize('content', [
    [1, 2], 'text', {'a': 1}, {'a': {'b': torch.zeros(1)}}, {3: torch.zeros(1)},
    {'a': torch.zeros(3).to_sparse()}, {'a': torch.zeros(2, device='meta')},
    {'state_dict': 3}, torch.zeros(3)], ids=repr)
def test_content_that_is_no_mapping_of_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / 'head.bin')
    refusal(tmp_path / 'head.bin')


@pytest.mark.parametrize('sizes', [
    {'kind': 'linear', 'size': 10**12, 'bins': 256}, {'kind': 'linear', 'size': -1},
    {'kind': 'linear', 'size': 'wide'}, {'kind': 'other', 'size': 64}, {'size': 64}, {},
    {'kind': 'linear', 'size': 64, 'surprise': 1}, {'kind': 'linear', 'size': 64, 'bins': 10**6},
    {'kind': 'linear', 'size': [64, 64]}, {'kind': ['linear'], 'size': 64},
    {'kind': 'linear', 'size': 64, 'maximum': 'far'}], ids=str)
def test_sizes_in_the_metadata_are_not_trusted(tmp_path: Path, sizes: dict[str, Any]) -> None:
    tensors = {f'depth.{name}': value for name, value in DepthHead(64, 8).state_dict().items()}
    path = tmp_path / 'heads.safetensors'
    save_file(tensors, path, metadata={'sizes': json.dumps({'depth': sizes})})
    if sizes:
        refusal(path, 'depth')
    else:
        load_part(read_checkpoint(path, 'depth'))  # no sizes: they are inferred


@pytest.mark.parametrize('key', ['state_dict', 'model', 'model_state_dict', 'teacher'])
def test_tensors_under_a_key_and_of_parallel_training_are_found(tmp_path: Path, key: str) -> None:
    state = {f'module.{name}': value for name, value in head_state().items()}
    torch.save({key: state, 'epoch': 3, 'optimizer': {'lr': 1.0}}, tmp_path / 'head.pth')
    module, _ = load_part(read_checkpoint(tmp_path / 'head.pth', 'segmentation'))
    for name, value in head_state().items():
        torch.testing.assert_close(module.state_dict()[name], value)


@pytest.mark.parametrize('content, says', [
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'git lfs pull'),
    (b'<!doctype html><html>', 'a web page'), (b'\n<html lang="en">', 'a web page')])
@pytest.mark.parametrize('name', ['model.safetensors', 'head.pth'])
def test_what_stands_in_for_weights_is_named(
        tmp_path: Path, content: bytes, says: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert says in refusal(tmp_path / name)
    if name == 'model.safetensors':   # which is found in a folder
        assert says in refusal(tmp_path)


def test_shards_of_torch_have_a_remedy(tmp_path: Path) -> None:
    (tmp_path / 'pytorch_model-00001-of-00002.bin').write_bytes(b'')
    assert 'shards are read of safetensors alone: take those' in refusal(tmp_path)


def test_what_holds_more_than_tensors_has_a_remedy(tmp_path: Path) -> None:
    torch.save({'state_dict': head_state(), 'best': Fraction(3)}, tmp_path / 'head.ckpt')
    assert refusal(tmp_path / 'head.ckpt').endswith('code never is: save the state_dict alone')


def test_files_of_torch_hub_have_a_remedy(tmp_path: Path) -> None:
    torch.save({'cls_token': torch.zeros(1, 1, 64), 'blocks.0.attn.qkv.weight': torch.zeros(9, 3)},
               tmp_path / 'dinov3.pth')
    assert 'take the Hugging Face file' in refusal(tmp_path / 'dinov3.pth', 'backbone')


def test_layers_in_the_metadata_cost_nothing(tmp_path: Path) -> None:
    sizes = {'kind': 'deltaworld', 'size': 64, 'heads': 1, 'layers': 10**9}
    save_file({'world.x': torch.zeros(1)}, tmp_path / 'world.safetensors',
              metadata={'sizes': json.dumps({'world': sizes})})
    assert 'layers 1000000000 must be at most' in refusal(tmp_path / 'world.safetensors', 'world')


@pytest.mark.parametrize('text', [
    '', '[]', '{"weight_map": 3}', '{"weight_map": {"a": "../secret.safetensors"}}',
    '{"weight_map": {"a": "/etc/passwd"}}', '{"weight_map": {"a": 3}}', '[' * 100_000,
    '{"weight_map": {"a": "absent.safetensors"}}', '\x00'])
def test_an_index_with_path_tricks(tmp_path: Path, text: str) -> None:
    (tmp_path / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(UserError):
        read_checkpoint(tmp_path, 'backbone')


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.txt').write_text('hello')
    for path, says in ((tmp_path / 'none.bin', 'no such file'), (tmp_path / 'empty', 'none of'),
                       (tmp_path / 'notes.txt', 'must end in'), (Path('/dev/zero'), 'no such')):
        with pytest.raises(UserError, match=says):
            read_checkpoint(path, 'depth')


def test_links_out_of_a_bundle_are_not_followed(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    (folder / 'decode.onnx').rename(tmp_path / 'elsewhere.onnx')
    (folder / 'decode.onnx').symlink_to(tmp_path / 'elsewhere.onnx')
    with pytest.raises(UserError, match='leads out of the bundle'):
        load_bundle(folder)
    (tmp_path / 'link').symlink_to(tiny_bundle)  # the folder itself may be one
    assert load_bundle(tmp_path / 'link').manifest.name == 'tiny'


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Change, remove, insert, repeat or cut some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(
            min(len(data), 400))
        length = rng.choice((1, 1, 4, 40))
        kind = rng.randrange(5)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place:place + length] = rng.randbytes(length)
        elif kind == 2:
            del data[place:place + length]
        elif kind == 3:
            data[place:place] = data[place:place + length]
        else:
            data[place:place + 1] = rng.choice((b'\x00', b'\xff', b'[', b'-1', b'9' * 20))
        if len(data) < 2:
            break
    return bytes(data) if rng.random() < 0.9 else bytes(data[:rng.randrange(len(data) + 1)])


@pytest.mark.parametrize('name', ['head.bin', 'head.safetensors'])
def test_fuzzed_checkpoints(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith('.bin'):
        torch.save(head_state(), path)
    else:
        save_file(head_state(), path, metadata={'sizes': '{}'})
    content, rng, refused = path.read_bytes(), random.Random(4), 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(content, rng))
        try:
            module, sizes = load_part(read_checkpoint(path, 'segmentation'))
        except UserError as error:
            assert '\n' not in str(error)
            refused += 1
        else:  # a changed weight is still a weight
            assert sizes['size'] == 64
            assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
    assert refused > MUTATIONS / 3
    assert sorted(tmp_path.iterdir()) == [path]


def test_fuzzed_manifest(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    files = sorted(folder.iterdir())
    content, rng, refused = (folder / 'bundle.yaml').read_bytes(), random.Random(5), 0
    for _ in range(MUTATIONS):
        (folder / 'bundle.yaml').write_bytes(mutated(content, rng))
        try:
            load_bundle(folder)
        except UserError as error:
            assert '\n' not in str(error) and len(str(error)) < 1500
            refused += 1
    assert refused > MUTATIONS / 3
    assert sorted(folder.iterdir()) == files


@pytest.mark.parametrize('name', ['observe.onnx', 'decode.onnx', 'golden.npz'])
def test_fuzzed_graphs_with_right_hashes(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    """Whoever can write the hashes can write any graph: the engine refuses it or it is right."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    manifest = load_bundle(folder).manifest
    content, rng, refused = (folder / name).read_bytes(), random.Random(6), 0
    for _ in range(MUTATIONS // 5):
        (folder / name).write_bytes(mutated(content, rng))
        write_manifest(folder, manifest)
        try:
            load_engine(load_bundle(folder), 'onnxruntime', threads=1).close()
        except UserError:
            refused += 1
    assert refused > MUTATIONS / 20


def test_a_sound_file_is_accepted(tmp_path: Path) -> None:
    """The twin of all refusals: the same file, unharmed, loads."""
    save_file(head_state(), tmp_path / 'head.safetensors')
    module, _ = load_part(read_checkpoint(tmp_path / 'head.safetensors', 'segmentation'))
    for name, value in load_file(tmp_path / 'head.safetensors').items():
        assert torch.equal(value, module.state_dict()[name])
