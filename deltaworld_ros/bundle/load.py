# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find a bundle by name or folder and verify it before anything of it is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deltaworld_ros.bundle.manifest import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
    sha256_of,
)
from deltaworld_ros.errors import UserError

# The bundles that ship with the package.
BUNDLES_FOLDER = Path(__file__).resolve().parent.parent / 'bundles'


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its folder and what its manifest says."""

    path: Path
    manifest: Manifest

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
    for name, expected in manifest.files.items():
        path = folder / name
        # Only regular files are opened: a device or pipe would never end.
        if not path.is_file():
            raise UserError(f'{path}: listed in {MANIFEST_NAME} but missing from the bundle')
        if path.resolve().parent != folder.resolve():
            raise UserError(f'{path}: is a link that leads out of the bundle')
        try:
            actual = sha256_of(path)
        except OSError as error:
            raise UserError(f'{path}: cannot be read: {error.strerror}') from None
        if actual != expected:
            raise UserError(
                f'{path}: sha256 is {actual[:12]}.., {MANIFEST_NAME} says {expected[:12]}..: '
                'the bundle is damaged or was altered')
    return Bundle(folder, manifest)
