# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read clips of WebDataset shards from disk or object storage, each by its bytes alone.

The index says where every sample lies, so a batch is one set of byte ranges, fetched at once.
Every node and worker reads the samples of its own batches and no other byte, the order can be
shuffled over all shards, and a run that is resumed reads nothing of what it saw before.
"""

import io
import json
import tarfile
import time
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import Problems
from deltaworld_training.data.shards import DEPTH_UNIT, INDEX, open_folder

_TRIES = 3
_DRAWS = 20


class ShardClips:
    """
    The clips of a folder of shards by index: the same clip in every process.

    A sample that is damaged or cannot be read is counted in `problems`, by its shard, and
    another one is taken instead, which follows from the index alone. Only where twenty in a row
    fail does reading raise `UserError`.
    """

    def __init__(self, url: str, problems: Problems | None = None):
        """Read the index at a folder or URL."""
        self.url = url
        self.problems = Problems() if problems is None else problems
        files, folder = open_folder(url)
        try:
            index = json.loads(files.cat_file(f'{folder}/{INDEX}'))
            shards = index['shardlist']
            # Rows of shard, first byte, end and checksum.
            self.samples = np.array([
                (number, start, end, checksum)
                for number, shard in enumerate(shards)
                for start, end, checksum in zip(
                    shard['starts'][:-1], shard['starts'][1:], shard['crc32'], strict=True)
            ], np.int64)
        except FileNotFoundError as error:
            raise UserError(
                f'{url}: no {INDEX} there; write shards with `deltaworld train shards`') from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{url}/{INDEX}: no index of shards: {error}') from error
        self.names = [shard['url'] for shard in shards]

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.samples)

    def clip(self, index: int) -> Clip:
        """Read one clip."""
        return self.clips([index])[0]

    def clips(self, indices: Sequence[int]) -> list[Clip]:
        """Read clips with one set of requests, and what replaces damaged ones with another."""
        wanted = list(indices)
        found: dict[int, Clip] = {}
        for draw in range(_DRAWS):
            places = [place for place in range(len(wanted)) if place not in found]
            if not places:
                return [found[place] for place in range(len(wanted))]
            for place, data in zip(
                    places, self._fetch([wanted[place] for place in places]), strict=True):
                row = self.samples[wanted[place]]
                try:
                    found[place] = _decode(data, int(row[3]))
                except (OSError, ValueError, KeyError, tarfile.TarError) as error:
                    self.problems.add(f'{self.url}/{self.names[row[0]]}', error)
                    generator = np.random.default_rng((indices[place], draw))
                    wanted[place] = int(generator.integers(len(self)))
        raise UserError(f'{self.url}: {_DRAWS} clips in a row cannot be read; '
                        f'{self.problems.summary()}')

    def _fetch(self, indices: Sequence[int]) -> list[bytes | Exception]:
        """Fetch the bytes of samples; a request that fails is tried again."""
        files, folder = open_folder(self.url)
        rows = self.samples[list(indices)]
        data: list[Any] = [None] * len(rows)
        left = list(range(len(rows)))
        for attempt in range(_TRIES):
            results = files.cat_ranges(
                [f'{folder}/{self.names[rows[i, 0]]}' for i in left],
                [int(rows[i, 1]) for i in left], [int(rows[i, 2]) for i in left],
                on_error='return')
            for i, result in zip(left, results, strict=True):
                data[i] = result
            left = [i for i in left if isinstance(data[i], Exception)
                    and not isinstance(data[i], FileNotFoundError)]
            if not left:
                break
            time.sleep(0.5 * 2 ** attempt)
        return data


def _decode(data: bytes | Exception, checksum: int) -> Clip:
    """Decode the tar entries of one sample."""
    if isinstance(data, Exception):
        raise OSError(f'{type(data).__name__}: {data}')
    if zlib.crc32(data) != checksum:
        raise ValueError('damaged: the checksum of a sample differs from the index')
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            opened = tar.extractfile(entry)
            if opened is not None:
                files[entry.name.partition('.')[2]] = opened.read()
    described = json.loads(files['json'])
    count = len(described['times'])
    depth = _images(files, 'depth{:02d}.png', count, cv2.IMREAD_UNCHANGED)
    frames = _images(files, 'frame{:02d}.jpg', count, cv2.IMREAD_COLOR)
    if frames is None:
        raise ValueError('damaged: a sample without frames')
    return Clip(
        frames=np.ascontiguousarray(frames[..., ::-1]),
        times=np.asarray(described['times'], np.float64),
        labels=_images(files, 'labels{:02d}.png', count, cv2.IMREAD_UNCHANGED),
        depth=None if depth is None else np.where(
            depth == 0, np.nan, depth * np.float32(DEPTH_UNIT)).astype(np.float32),
        focal_length=described['focal_length'],
    )


def _images(files: dict[str, bytes], name: str, count: int, mode: int) -> np.ndarray | None:
    if name.format(0) not in files:
        return None
    return np.stack([
        cv2.imdecode(np.frombuffer(files[name.format(i)], np.uint8), mode) for i in range(count)])
