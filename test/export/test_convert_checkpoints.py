# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All ways to keep the same weights give the same network: halves, shards, names, repositories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.released_files import write_tiny_release

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import load_part
from deltaworld_ros.export.checkpoints import read_checkpoint
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.predictor import DeltaWorld


@pytest.fixture(scope='module')
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_release(tmp_path_factory.mktemp('release'))


def test_halves_newer_names_shards_and_our_own_files(
        release: dict[str, Path], tmp_path: Path) -> None:
    """All ways to keep the same weights give the same network."""
    state = load_file(release['backbone'] / 'model.safetensors')
    expected, _ = load_part(read_checkpoint(release['backbone'], 'backbone'))

    half = {f'model.{name}': value.half() for name, value in state.items()}
    save_file(half, tmp_path / 'half.safetensors')
    module, sizes = load_part(read_checkpoint(tmp_path / 'half.safetensors', 'backbone'))
    assert sizes == {'kind': 'dinov3', 'size': 192, 'heads': 3, 'layers': 2, 'mlp_size': 768,
                     'registers': 4}
    for name, value in module.state_dict().items():
        assert value.dtype is torch.float32 and torch.equal(value, state[name].half().float())

    names = sorted(state)
    shards = {'a.safetensors': names[::2], 'b.safetensors': names[1::2]}
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, tmp_path / file)
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(
        {'weight_map': {name: file for file, part in shards.items() for name in part}}))
    same(load_part(read_checkpoint(tmp_path, 'backbone'))[0], expected)

    trained = {f'segmentation.{name}': value for name, value in torch.load(
        release['cityscapes'], weights_only=True).items()}
    trained |= {f'depth.{name.removeprefix("network.")}': value for name, value in torch.load(
        release['depth'], weights_only=True).items()}
    sizes = {'segmentation': {'kind': 'linear', 'size': 192, 'classes': 19},
             'depth': {'kind': 'linear', 'size': 192, 'bins': 256, 'maximum': 40.0}}
    save_file(trained, tmp_path / 'heads.safetensors', metadata={'sizes': json.dumps(sizes)})
    depth, found = load_part(read_checkpoint(tmp_path / 'heads.safetensors', 'depth'))
    assert found == sizes['depth'] and float(depth.centres.max()) == 40.0
    # A Lightning checkpoint holds the optimiser and counters too.
    torch.save({'state_dict': trained, 'optimizer_states': [{'state': {}}], 'global_step': 3,
                'pytorch-lightning_version': '2.6'}, tmp_path / 'last.ckpt')
    again, _ = load_part(read_checkpoint(tmp_path / 'last.ckpt', 'segmentation'))
    same(again, load_part(read_checkpoint(release['cityscapes'], 'segmentation'))[0])
    with pytest.raises(UserError, match='holds no tokenizer; it holds: segmentation, depth'):
        read_checkpoint(tmp_path / 'last.ckpt', 'tokenizer')


def same(first: torch.nn.Module, second: torch.nn.Module) -> None:
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_plain_blocks_and_learned_queries_are_recognised(tmp_path: Path) -> None:
    for gated, frame_tokens in ((False, False), (True, True)):
        module = DeltaTok(128, 2, 1, 256, gated, frame_tokens)
        torch.save(module.state_dict(), tmp_path / 'tokenizer.bin')
        loaded, sizes = load_part(read_checkpoint(tmp_path / 'tokenizer.bin', 'tokenizer'),
                                  grid=(2, 3), frame_tokens=frame_tokens)
        assert (sizes['gated'], sizes['frame_tokens']) == (gated, frame_tokens)
        same(module, loaded)
    torch.save(DeltaWorld(128, 2, 1, 256, 64, True).state_dict(), tmp_path / 'world.bin')
    _, sizes = load_part(read_checkpoint(tmp_path / 'world.bin', 'world'))
    assert (sizes['learned_query'], sizes['token_size']) == (True, 64)


def test_repositories_are_read_from_the_cache_without_a_network(
        release: dict[str, Path], tmp_path: Path) -> None:
    """An id is found where the library keeps it; without it, one line says so."""
    cached = tmp_path / 'hub' / 'models--someone--dinov3'
    revision = '0123456789abcdef0123456789abcdef01234567'
    (cached / 'refs').mkdir(parents=True)
    (cached / 'refs' / 'main').write_text(revision)
    (cached / 'snapshots' / revision).mkdir(parents=True)
    weights = (release['backbone'] / 'model.safetensors').read_bytes()
    (cached / 'snapshots' / revision / 'model.safetensors').write_bytes(weights)
    program = (
        'from deltaworld_ros.export.checkpoints import WEIGHT_FILES\n'
        'from deltaworld_ros.export.hub import find_checkpoint, name_with_commit\n'
        'from deltaworld_ros.errors import UserError\n'
        'for source in ("hf:someone/dinov3", "someone/dinov3", "hf:someone/else", "hf:../x",\n'
        f'               "someone/dinov3@{revision}",\n'
        '               "hf:someone/dinov3@other", "hf:someone/dinov3@../x"):\n'
        '    try:\n'
        '        path = find_checkpoint(source, WEIGHT_FILES)\n'
        '        print(path, name_with_commit(source, path))\n'
        '    except UserError as error:\n'
        '        print(error)\n')
    environment = {**os.environ, 'HF_HUB_CACHE': str(tmp_path / 'hub'), 'HF_HUB_OFFLINE': '1'}
    done = subprocess.run([sys.executable, '-c', program], env=environment, cwd=tmp_path,
                          capture_output=True, text=True, check=True, timeout=120)
    first, second, absent, trick, pinned, other, tricked = done.stdout.splitlines()
    assert first == second == pinned
    path, stated = first.split()
    assert Path(path).read_bytes() == weights
    assert stated == f'hf:someone/dinov3@{revision}'
    assert 'hf:someone/dinov3@other: no such file, and Hugging Face cannot be' in other
    assert "'hf:someone/dinov3@../x': no such file; accepted" in tricked
    assert 'hf:someone/else: no such file, and Hugging Face cannot be reached' in absent
    assert "'hf:../x': no such file; accepted" in trick
