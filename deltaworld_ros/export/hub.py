# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find a checkpoint: a local path, or the weights of a Hugging Face repository."""

from __future__ import annotations

import re
from pathlib import Path

from deltaworld_ros.errors import UserError

_REPOSITORY = re.compile(
    r'(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[A-Za-z0-9][\w./-]{0,100}))?')
_COMMIT = re.compile(r'[0-9a-f]{40}')
_FORMS = ('accepted: a local file or folder, or a Hugging Face id (hf:org/name, or '
          'hf:org/name@revision)')


def find_checkpoint(source: str, names: tuple[str, ...]) -> Path:
    """
    Return the local path of `source`: a path, `hf:org/name[@revision]`, or that without `hf:`.

    Of a repository the first of `names` that it has is downloaded into the library's cache, and
    the shards that an index lists, all of one commit. Raise `UserError` where there is no such
    thing.
    """
    wanted = _REPOSITORY.fullmatch(source.removeprefix('hf:'))
    if not source.startswith('hf:'):
        path = Path(source).expanduser()
        try:
            if path.exists():
                return path
        except OSError:
            pass  # too long for the file system
    if wanted is None:
        raise UserError(f'{source[:200]!r}: no such file; {_FORMS}')
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RemoteEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError:
        raise UserError(
            f'{source}: no such file, and to download it the Python package huggingface_hub is '
            'needed (pip install huggingface_hub)') from None
    repository, revision = wanted['id'], wanted['revision']
    offline = False
    for name in names:
        try:
            path = Path(hf_hub_download(
                repository, name, revision=revision, local_files_only=offline))
            if path.name.endswith('.index.json'):
                from deltaworld_ros.export.checkpoints import shard_names
                for shard in shard_names(path):
                    hf_hub_download(repository, shard, revision=_commit(path),
                                    local_files_only=offline)
            return path
        except LocalEntryNotFoundError:
            offline = True  # what is left may be in the cache
        except RemoteEntryNotFoundError:
            continue
        except GatedRepoError:
            raise UserError(
                f'{source}: its licence must be accepted on https://huggingface.co/{repository} '
                'first, then log in with: hf auth login') from None
        except RevisionNotFoundError:
            raise UserError(f'{source}: the repository has no revision {revision!r}') from None
        except RepositoryNotFoundError:
            raise UserError(f'{source}: neither a file nor a repository that can be read on '
                            'Hugging Face') from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise UserError(
                f'{source}: cannot be downloaded: {" ".join(str(error).split())[:200]}') from None
    if offline:
        raise UserError(f'{source}: no such file, and Hugging Face cannot be reached (nor is it '
                        'in the cache): download it and give its path')
    raise UserError(f'{source}: the repository has none of {", ".join(names)}')


def name_with_commit(source: str, path: Path) -> str:
    """Return what a bundle states as the source of a file: with its commit, where it has one."""
    commit, found = _commit(path), _REPOSITORY.fullmatch(source.removeprefix('hf:'))
    return f'hf:{found["id"]}@{commit}' if commit and found else path.name


def _commit(path: Path) -> str | None:
    """Return the commit of a file in the library's cache, which is the name of its folder."""
    folder = path.parent
    return folder.name if folder.parent.name == 'snapshots' and _COMMIT.fullmatch(
        folder.name) else None
