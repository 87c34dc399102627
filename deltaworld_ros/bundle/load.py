# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find a bundle by name or folder and verify it before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltaworld_ros.bundle.files import digest_inside, read_inside
from deltaworld_ros.bundle.manifest import (
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
        """Give the path of a file that the manifest lists; `UserError` for any other."""
        if name not in self.manifest.files:
            raise UserError(f'{self.path}: the bundle has no file {name!r}')
        return self.path / name


def find_bundle(name_or_path: str | Path) -> Path:
    """
    Give the folder of a bundle: an existing folder, or the name of a bundle that ships.

    Raise `UserError` that lists the names where it is neither.
    """
    try:
        folder = Path(name_or_path).expanduser()
        if folder.is_dir():
            return folder
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
    lacks or has unknown keys, contradicts itself, or names files or links outside the folder.
    """
    folder = find_bundle(name_or_path)
    manifest = read_manifest(folder / MANIFEST_NAME)
    contents: dict[str, bytes] = {}
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.exists():
            raise UserError(f'{path}: listed in {MANIFEST_NAME} but missing from the bundle')
        if name in _HELD_FILES:
            contents[name] = read_inside(path)
            actual = hashlib.sha256(contents[name]).hexdigest()
        else:
            actual = digest_inside(path)
        if actual != expected:
            raise UserError(
                f'{path}: sha256 is {actual[:12]}.., {MANIFEST_NAME} says {expected[:12]}..: '
                'the bundle is damaged or was altered')
    return Bundle(folder, manifest, contents)
