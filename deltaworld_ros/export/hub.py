# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find a checkpoint: a local path, or the weights of a Hugging Face repository."""

from __future__ import annotations

import re
from pathlib import Path

from deltaworld_ros.errors import UserError

_REPOSITORY = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*')
_FORMS = 'accepted: a local file or folder, or a Hugging Face id (hf:org/name)'


def find_checkpoint(source: str, names: tuple[str, ...]) -> Path:
    """
    Give the local path of `source`: a path, `hf:org/name`, or `org/name` where no path is so.

    Of a repository the first of `names` that it has is downloaded into the library's cache, and
    the shards that an index lists. Raise `UserError` where there is no such thing.
    """
    repository = source.removeprefix('hf:')
    if repository == source:
        path = Path(source).expanduser()
        try:
            if path.exists():
                return path
        except OSError:
            pass  # too long for the file system
    if not _REPOSITORY.fullmatch(repository):
        raise UserError(f'{source[:200]!r}: no such file; {_FORMS}')
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RemoteEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError:
        raise UserError(
            f'{source}: no such file, and to download it the Python package huggingface_hub is '
            'needed (pip install huggingface_hub)') from None
    offline = False
    for name in names:
        try:
            path = Path(hf_hub_download(repository, name, local_files_only=offline))
            if path.name.endswith('.index.json'):
                from deltaworld_ros.export.checkpoints import shard_names
                for shard in shard_names(path):
                    hf_hub_download(repository, shard, local_files_only=offline)
            return path
        except LocalEntryNotFoundError:
            offline = True  # what is left may be in the cache
        except RemoteEntryNotFoundError:
            continue
        except GatedRepoError:
            raise UserError(
                f'{source}: its licence must be accepted on https://huggingface.co/{repository} '
                'first, then log in with: hf auth login') from None
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
