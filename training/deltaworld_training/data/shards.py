# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write clips as WebDataset shards: tar files of a few hundred clips, on disk or object storage.

A sample is `<key>.json` (times, focal length), `<key>.frame00.jpg` ..., and where the clip has
them `<key>.labels00.png` (class ids) and `<key>.depth00.png` (16 bit, centimetres, 0 unknown).
`index.json` lists the shards as the `wids` index of WebDataset does, and where each sample lies.
"""

import hashlib
import io
import json
import multiprocessing
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import cv2
import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip, ClipSource
from deltaworld_training.data.worker import start_worker

INDEX = 'index.json'
DEPTH_UNIT = 0.01
_DEEPEST = 65535


@dataclass(frozen=True)
class ShardWriter:
    """Where the shards of a source go, a folder or a URL, and how they are written."""

    url: str
    clips_per_shard: int = 128
    quality: int = 90

    def write(
        self, source: ClipSource, description: dict[str, Any], workers: int = 0,
        advance: Callable[[int], None] = lambda clips: None,
    ) -> dict[str, Any]:
        """
        Write the shards that are missing, then the index, and return the index.

        A shard counts only with its `.json`, which is written last, so a run that was killed
        goes on where it stopped. The description of the source must be the same as then.
        """
        files, folder = open_folder(self.url)
        files.makedirs(folder, exist_ok=True)
        settings = {
            **description, 'clips': len(source), 'clips_per_shard': self.clips_per_shard,
            'quality': self.quality,
        }
        shards: dict[int, dict[str, Any]] = {}
        numbers = range(-(-len(source) // self.clips_per_shard))
        for number in numbers:
            found = self._written(files, f'{folder}/{_name(number)}.json', settings)
            if found is not None:
                shards[number] = found
                advance(found['nsamples'])
        missing = [number for number in numbers if number not in shards]
        for number, shard in self._write_all(source, missing, settings, workers):
            shards[number] = shard
            advance(shard['nsamples'])
        index = {
            '__kind__': 'wids-shard-index-v1', 'wids_version': 1, 'name': folder.split('/')[-1],
            'settings': settings,
            'samples': len(source),
            'bytes': sum(shard['filesize'] for shard in shards.values()),
            'shardlist': [shards[number] for number in sorted(shards)],
        }
        _put(files, f'{folder}/{INDEX}', json.dumps(index).encode())
        return index

    def _written(self, files: Any, path: str, settings: dict) -> dict[str, Any] | None:
        """Return the entry of a finished shard, or None."""
        try:
            found = json.loads(files.cat_file(path))
        except (FileNotFoundError, ValueError):
            return None
        if found['settings'] != json.loads(json.dumps(settings)):
            raise UserError(
                f'{self.url}: holds shards of another source or of other settings; '
                'give a new folder')
        shard: dict[str, Any] = found['shard']
        return shard

    def _write_all(
        self, source: ClipSource, missing: list[int], settings: dict, workers: int,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        if not workers:
            for number in missing:
                yield number, self.write_shard(source, number, settings)
            return
        # Spawned, not forked: a GL context belongs to one process.
        with ProcessPoolExecutor(
                workers, multiprocessing.get_context('spawn'), start_worker) as pool:
            numbers = {
                pool.submit(self.write_shard, source, number, settings): number
                for number in missing
            }
            try:
                for done in as_completed(numbers):
                    yield numbers[done], done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def write_shard(self, source: ClipSource, number: int, settings: dict) -> dict[str, Any]:
        """Write one shard and its `.json`, and return its entry of the index."""
        first = number * self.clips_per_shard
        buffer = io.BytesIO()
        starts, checksums = [], []
        with tarfile.open(fileobj=buffer, mode='w', format=tarfile.USTAR_FORMAT) as tar:
            for index in range(first, min(first + self.clips_per_shard, len(source))):
                starts.append(tar.offset)
                for name, data in encode_sample(source.clip(index), self.quality):
                    entry = tarfile.TarInfo(f'{index:09d}.{name}')
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
                checksums.append(zlib.crc32(buffer.getbuffer()[starts[-1]:tar.offset]))
            starts.append(tar.offset)
        data = buffer.getvalue()
        shard = {
            'url': f'{_name(number)}.tar', 'nsamples': len(checksums), 'filesize': len(data),
            'sha256': hashlib.sha256(data).hexdigest(), 'starts': starts, 'crc32': checksums,
        }
        files, folder = open_folder(self.url)
        _put(files, f'{folder}/{_name(number)}.tar', data)
        _put(files, f'{folder}/{_name(number)}.json',
             json.dumps({'settings': settings, 'shard': shard}).encode())
        return shard


def open_folder(url: str) -> tuple[Any, str]:
    """
    Return the file system of a folder or URL, and the folder in it.

    What a storage needs beside its URL comes from the environment, as fsspec reads it:
    FSSPEC_S3_ENDPOINT_URL, AWS_PROFILE and so on.
    """
    try:
        files, folder = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(f'{url}: {error}') from error
    return files, folder.rstrip('/')


def encode_sample(clip: Clip, quality: int) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a clip by their names without the key."""
    yield 'json', json.dumps({
        'times': clip.times.tolist(), 'focal_length': clip.focal_length}).encode()
    for number, frame in enumerate(clip.frames):
        yield f'frame{number:02d}.jpg', _encode(
            '.jpg', frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if clip.labels is not None:
        for number, labels in enumerate(clip.labels):
            yield f'labels{number:02d}.png', _encode('.png', labels)
    if clip.depth is not None:
        for number, depth in enumerate(clip.depth):
            known = np.isfinite(depth) & (depth < _DEEPEST * DEPTH_UNIT)
            units = np.where(known, np.round(np.where(known, depth, 0.0) / DEPTH_UNIT), 0)
            yield f'depth{number:02d}.png', _encode('.png', units.astype(np.uint16))


def _encode(kind: str, image: np.ndarray, settings: list[int] | None = None) -> bytes:
    return cv2.imencode(kind, np.ascontiguousarray(image), settings or [])[1].tobytes()


def _name(number: int) -> str:
    return f'clips-{number:06d}'


def _put(files: Any, path: str, data: bytes) -> None:
    """Write a whole file or none of it; object storages do so by themselves."""
    if isinstance(files, LocalFileSystem):
        files.pipe_file(f'{path}.part', data)
        os.replace(f'{path}.part', path)
    else:
        files.pipe_file(path, data)
