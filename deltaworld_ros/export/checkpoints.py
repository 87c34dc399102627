# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read the tensors of checkpoints that others wrote, safely (needs torch).

Nothing in a file is executed, and no memory is taken for what a file only claims to hold.
"""

import json
import math
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from deltaworld_ros.errors import UserError

PARTS = ('backbone', 'tokenizer', 'world', 'segmentation', 'depth', 'painter')
TORCH_SUFFIXES = ('.bin', '.ckpt', '.pt', '.pth')
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# What a folder or a repository may hold its weights in, in the order in which they are tried.
WEIGHT_FILES = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin')
_PLAIN_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*')
_MAX_INDEX = 50_000_000
# Keys under which training programs keep the tensors, beside other things.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'teacher')
# What is often found in the place of weights, by its first bytes.
_NO_WEIGHTS = {
    b'version https://git-lfs': 'a pointer of git-lfs; fetch the file itself: git lfs pull',
    b'<!DOCTYPE': 'a web page; download the file itself',
    b'<html': 'a web page; download the file itself'}


@dataclass(frozen=True)
class Checkpoint:
    """One part's tensors by their released names; the sizes where the file tells them."""

    path: Path
    part: str
    tensors: dict[str, Tensor]
    sizes: dict[str, Any] | None


def read_checkpoint(path: Path, part: str) -> Checkpoint:
    """
    Read one part (see PARTS) from a released file, a folder that holds one, or one of training.

    Taken off the names are the prefixes `module.`, `network.`, `_orig_mod.` and `model.`, and
    `part.` where a file of ours holds several parts. Raise `UserError` for what cannot be read
    safely.
    """
    path = _weights_file(path)
    if path.suffix == '.safetensors':
        tensors, metadata = _read_safetensors(path)
    elif path.name.endswith('.safetensors.index.json'):
        tensors, metadata = _read_shards(path), {}
    elif path.suffix in TORCH_SUFFIXES:
        tensors, metadata = _read_torch(path), {}
    else:
        raise UserError(f'{path}: must end in .safetensors, {", ".join(TORCH_SUFFIXES)}')
    held = {part: sizes for part, sizes in _sizes(path, metadata).items() if part in PARTS}
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        released = _released_name(name)
        if released in named:
            raise UserError(f'{path}: holds {released!r} twice, with and without a prefix')
        named[released] = tensor
    found = [other for other in PARTS
             if other in held or any(name.startswith(f'{other}.') for name in named)]
    if found:
        if part not in found:
            raise UserError(f'{path}: holds no {part}; it holds: {", ".join(found)}')
        named = {name.removeprefix(f'{part}.'): tensor for name, tensor in named.items()
                 if name.startswith(f'{part}.')}
    return Checkpoint(path, part, named, held.get(part))


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; raise `UserError` where it is not one."""
    return _read_safetensors(path)[1]


def _released_name(name: str) -> str:
    name = name.replace('_orig_mod.', '')
    for prefix in ('module.', 'network.', 'model.'):
        name = name.removeprefix(prefix)
    return name


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        name = next((name for name in WEIGHT_FILES if (path / name).is_file()), None)
        if name is None:
            shards = any(path.glob('pytorch_model-*.bin'))
            raise UserError(f'{path}: the folder holds none of {", ".join(WEIGHT_FILES)}' + (
                '; shards are read of safetensors alone: take those' if shards else ''))
        path /= name
    if not path.is_file():
        raise UserError(f'{path}: no such file')
    try:
        with path.open('rb') as file:
            start = file.read(100).lstrip()
    except OSError as error:
        raise UserError(f'{path}: cannot be read: {error.strerror}') from None
    for mark, what in _NO_WEIGHTS.items():
        if start[:len(mark)].lower() == mark.lower():
            raise UserError(f'{path}: is {what}')
    return path


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, 'pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = dict(file.metadata() or {})
    # The library raises errors of many kinds for what is not its format.
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, OverflowError,
            AttributeError, KeyError, MemoryError) as error:
        raise UserError(
            f'{path}: not a readable safetensors file, or cut off: {_one_line(error)}') from None
    _check_tensors(path, tensors)
    return tensors, metadata


def _read_shards(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in shard_names(path):
        for key, tensor in _read_safetensors(_weights_file(path.parent / name))[0].items():
            if key in tensors:
                raise UserError(f'{path}: {key!r} is in two of its files')
            tensors[key] = tensor
    return tensors


def shard_names(path: Path) -> list[str]:
    """Return the names of the files that an index of safetensors files lists."""
    try:
        if path.stat().st_size > _MAX_INDEX:
            raise UserError(f'{path}: too large for an index')
        names = set(json.loads(path.read_text(encoding='utf-8'))['weight_map'].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'{path}: not an index of safetensors files: {_one_line(error)}') from None
    for name in names:
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
            raise UserError(f'{path}: {str(name)[:100]!r} is not a plain file name')
    return sorted(names)


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            compressed = [entry.filename for entry in archive.infolist()
                          if entry.compress_type != zipfile.ZIP_STORED]
    # A damaged archive fails in many ways, of which only some have an error of their own.
    except Exception as error:
        raise UserError(f'{path}: not a file of torch.save (torch 1.6 or later), or cut off: '
                        f'{_one_line(error)}') from None
    if compressed:
        raise UserError(f'{path}: {compressed[0]!r} is compressed, which torch.save never does')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        blocked = re.search(r'GLOBAL (\S+)', str(error))
        reason = f'refers to {blocked[1][:100]}' if blocked else 'is no plain pickle'
        raise UserError(f'{path}: {reason}; only tensors are read, code never is: '
                        'save the state_dict alone') from None
    # A crafted pickle can raise anything from the reader.
    except Exception as error:
        raise UserError(f'{path}: cannot be read: {_one_line(error)}') from None
    if isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPERS
                        if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise UserError(f'{path}: must hold tensors by name, not a {type(content).__name__}')
    tensors = dict(content)
    _check_tensors(path, tensors)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _check_tensors(path: Path, tensors: Mapping[str, object]) -> None:
    """Refuse what is no ordinary tensor, and tensors that claim more than the file holds."""
    if not tensors:
        raise UserError(f'{path}: holds no tensors')
    claimed = 0
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise UserError(f'{path}: {name[:100]!r} is a {type(tensor).__name__}, not a tensor')
        plain = tensor.layout is torch.strided and tensor.device.type == 'cpu'
        if not plain or tensor.dtype not in (*FLOATS, torch.int64):
            raise UserError(f'{path}: {name[:100]!r} is of {tensor.dtype} ({tensor.layout}); '
                            'accepted: float16, bfloat16, float32, float64')
        claimed += math.prod(tensor.shape) * tensor.element_size()
    if claimed > path.stat().st_size:
        raise UserError(f'{path}: its tensors claim {claimed} bytes, the file has '
                        f'{path.stat().st_size}')


def _sizes(path: Path, metadata: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the sizes that our training writes into the metadata, by part."""
    try:
        sizes = json.loads(metadata.get('sizes', '{}'))
    except (ValueError, RecursionError):
        sizes = None
    if not isinstance(sizes, dict) or not all(isinstance(one, dict) for one in sizes.values()):
        raise UserError(f'{path}: the sizes in its metadata are not a mapping of parts')
    return sizes


def check_finite(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise `UserError` that names the tensors which hold NaN or infinity."""
    wrong = [name for name, tensor in tensors
             if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise UserError(f'{path}: NaN or infinite: {listed(wrong)}')


def listed(names: Iterable[str], most: int = 5) -> str:
    """Join names in one line, only the first few of many."""
    names = sorted(names)
    shown = ', '.join(name[:100] for name in names[:most])
    return shown + (f' and {len(names) - most} more' if len(names) > most else '')


def _one_line(error: object) -> str:
    return ' '.join(str(error).split())[:200]
