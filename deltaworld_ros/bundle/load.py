# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find a bundle by name or folder and verify it before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltaworld_ros.bundle.files import digest, read_bytes
from deltaworld_ros.bundle.graph_file import check_graph, external_files, with_weights
from deltaworld_ros.bundle.manifest import (
    GRAPHS,
    MANIFEST_NAME,
    REQUIRED_FILES,
    Manifest,
    read_manifest,
)
from deltaworld_ros.errors import UserError

# The bundles that ship with the package.
BUNDLES_FOLDER = Path(__file__).resolve().parent.parent / 'bundles'
# What engines and commands use is read once and held; other files may be large.
_HELD_FILES = (*REQUIRED_FILES, 'baselines.npz')


@dataclass(frozen=True)
class Bundle:
    """
    A verified bundle: its folder, what its manifest says, and the bytes that were verified.

    What is read from a bundle are those bytes: files that change later change nothing.
    """

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes] = field(repr=False)

    def read(self, name: str) -> bytes:
        """Return the verified bytes of a file; raise `UserError` for one that is not held."""
        if name not in self.contents:
            raise UserError(f'{self.path}: the bundle has no file {name!r}')
        return self.contents[name]

    def file(self, name: str) -> Path:
        """Return the path of a file that the manifest lists; `UserError` for any other."""
        if name not in self.manifest.files:
            raise UserError(f'{self.path}: the bundle has no file {name!r}')
        return self.path / name


def find_bundle(name_or_path: str | Path) -> Path:
    """
    Return the folder of a bundle: an existing folder, or the name of a bundle that ships.

    Raise `UserError` that lists the names where it is neither.
    """
    try:
        folder = Path(name_or_path).expanduser()
        if folder.is_dir() and str(name_or_path).strip():   # '' would be the present folder
            return folder
        if folder.is_file():
            raise UserError(f'bundle {str(name_or_path)[:200]!r}: is a file; a bundle is the '
                            'folder of its files')
    except (OSError, RuntimeError):
        pass  # too long for the file system, or the home of nobody
    shipped = shipped_bundles()
    if str(name_or_path) in shipped:
        return BUNDLES_FOLDER / str(name_or_path)
    names = ', '.join(shipped) or 'none'
    raise UserError(
        f'bundle {str(name_or_path)[:200]!r}: neither a folder nor a shipped bundle ({names})')


def shipped_bundles() -> list[str]:
    """List the names of the bundles that ship with the package."""
    if not BUNDLES_FOLDER.is_dir():
        return []
    return sorted(
        entry.name for entry in BUNDLES_FOLDER.iterdir() if (entry / MANIFEST_NAME).is_file())


def load_bundle(name_or_path: str | Path) -> Bundle:
    """
    Load a bundle by folder or shipped name and verify the sha256 of each of its files.

    Raise `UserError` in one line for a missing or altered file, a manifest that is not plain YAML,
    lacks or has unknown keys, contradicts itself or its graphs, or names files or links outside
    the folder, and for graphs that could run for ever or read other files.
    """
    folder = find_bundle(name_or_path)
    manifest = read_manifest(folder / MANIFEST_NAME)
    for name in manifest.files:
        if not (folder / name).exists():
            raise UserError(f'{folder / name}: listed in {MANIFEST_NAME} but missing from the '
                            'bundle')
    graphs = [f'{name}.onnx' for name in GRAPHS]
    contents = {name: _verified(folder, manifest, name) for name in graphs}
    weights = {name: _files_of_weights(folder / name, contents[name], manifest)
               for name in graphs}
    held = {*_HELD_FILES, *(file for files in weights.values() for file in files)}
    for name in manifest.files:
        if name in held and name not in contents:
            contents[name] = _verified(folder, manifest, name)
        elif name not in contents:
            _compare(folder / name, digest(folder / name), manifest.files[name])
    for name in graphs:
        try:
            if weights[name]:
                contents[name] = with_weights(contents[name], contents.__getitem__)
            check_graph(name.removesuffix('.onnx'), contents[name], manifest)
        except UserError as error:
            raise UserError(f'{folder / name}: {error}') from None
    return Bundle(folder, manifest, contents)


def _verified(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Read a file once and compare what was read with its hash."""
    content = read_bytes(folder / name)
    _compare(folder / name, hashlib.sha256(content).hexdigest(), manifest.files[name])
    return content


def _compare(path: Path, actual: str, expected: str) -> None:
    if actual != expected:
        raise UserError(
            f'{path}: sha256 is {actual[:12]}.., {MANIFEST_NAME} says {expected[:12]}..: '
            'the bundle is damaged or was altered')


def _files_of_weights(path: Path, graph: bytes, manifest: Manifest) -> set[str]:
    try:
        files = external_files(graph)
    except UserError as error:
        raise UserError(f'{path}: {error}') from None
    for name in sorted(files - set(manifest.files)):
        raise UserError(f'{path}: has weights in the file {name[:200]!r}, which the bundle does '
                        'not list')
    return files
