# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shards on disk, in an object store and behind a web server; whole and damaged ones."""

import functools
import http.server
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.shard_stream import ShardClips
from deltaworld_training.data.shards import ShardWriter

FRAMES, HEIGHT, WIDTH = 3, 32, 48


class DrawnClips:
    """Smooth pictures that differ from clip to clip; every second one with its truth."""

    def __init__(self, count: int = 10):
        self.count = count
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def clip(self, index: int) -> Clip:
        self.asked.append(index)
        generator = np.random.default_rng(index)
        coarse = generator.integers(0, 256, (FRAMES, 3, 4, 3), dtype=np.uint8)
        labels = generator.integers(0, 19, (FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
        depth = generator.uniform(0.5, 80.0, (FRAMES, HEIGHT, WIDTH)).astype(np.float32)
        depth[:, :4] = np.inf
        known = index % 2 == 0
        return Clip(
            np.stack([cv2.resize(image, (WIDTH, HEIGHT)) for image in coarse]),
            np.cumsum(generator.uniform(0.1, 0.3, FRAMES)),
            labels if known else None, depth if known else None, 57.5 if known else None)


class Asked(http.server.SimpleHTTPRequestHandler):
    """A web server that knows byte ranges, as object storages do, and notes what is read."""

    requests: list[tuple[str, str]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get('Range', '')
        self.requests.append((self.path.strip('/'), wanted))
        data = (Path(self.directory) / self.path.strip('/')).read_bytes()
        if wanted:
            first, last = (int(n) for n in wanted.removeprefix('bytes=').split('-'))
            data = data[first:last + 1]
        self.send_response(206 if wanted else 200)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope='module')
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ten clips as shards of four; tests must not change them."""
    folder = tmp_path_factory.mktemp('shards')
    ShardWriter(str(folder), clips_per_shard=4).write(DrawnClips(), {})
    return folder


@pytest.fixture
def server(shards: Path) -> Iterator[str]:
    Asked.requests = []
    handler = functools.partial(Asked, directory=str(shards))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


def copied(shards: Path, folder: Path) -> Path:
    for file in shards.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def check_clip(found: Clip, true: Clip) -> None:
    assert np.abs(found.frames.astype(int) - true.frames).mean() < 4.0
    assert np.array_equal(found.times, true.times)
    assert found.focal_length == true.focal_length
    if true.labels is None or true.depth is None:
        assert found.labels is None
        assert found.depth is None
        return
    assert np.array_equal(found.labels, true.labels)
    known = np.isfinite(true.depth)
    assert np.abs(found.depth - true.depth)[known].max() <= 0.0051
    assert np.isnan(found.depth[~known]).all()


def same(one: Clip, other: Clip) -> bool:
    return np.array_equal(one.frames, other.frames) and np.array_equal(one.times, other.times)


def test_every_clip_comes_back(shards: Path) -> None:
    """Times and labels exactly, depth to half a centimetre, frames as JPEG keeps them."""
    clips = ShardClips(str(shards))
    assert len(clips) == 10
    for index in range(10):
        check_clip(clips.clip(index), DrawnClips().clip(index))
    assert len(clips.problems) == 0


def test_index_describes_the_shards(shards: Path) -> None:
    """Counts, sizes and checksums are those of the files, and the tar files are whole."""
    index = json.loads((shards / 'index.json').read_text())
    assert [shard['nsamples'] for shard in index['shardlist']] == [4, 4, 2]
    for shard in index['shardlist']:
        file = shards / shard['url']
        assert file.stat().st_size == shard['filesize']
        assert shard['sha256'] == subprocess.run(
            ['sha256sum', file], capture_output=True, text=True, check=True).stdout.split()[0]
    with tarfile.open(shards / 'clips-000000.tar') as tar:
        assert tar.getnames()[:5] == [
            '000000000.json', '000000000.frame00.jpg', '000000000.frame01.jpg',
            '000000000.frame02.jpg', '000000000.labels00.png']


def test_webdataset_reads_the_shards(shards: Path) -> None:
    """The library that the format is named after finds the same samples."""
    webdataset = pytest.importorskip('webdataset', reason='comes with the extra dev')
    data = webdataset.WebDataset(
        [str(shards / f'clips-00000{n}.tar') for n in range(3)], shardshuffle=False).decode('rgb8')
    samples = list(data)
    assert [sample['__key__'] for sample in samples] == [f'{n:09d}' for n in range(10)]
    clips = ShardClips(str(shards))
    for index, sample in enumerate(samples):
        assert sample['json']['times'] == clips.clip(index).times.tolist()
        # Another JPEG decoder may round otherwise.
        difference = sample['frame00.jpg'].astype(int) - clips.clip(index).frames[0]
        assert np.abs(difference).max() <= 8


def test_killed_run_goes_on(tmp_path: Path) -> None:
    """Finished shards are kept, an unfinished one is written again, the result is the same."""
    whole = ShardWriter(str(tmp_path / 'whole'), clips_per_shard=4).write(DrawnClips(), {})
    folder = tmp_path / 'broken'
    writer = ShardWriter(str(folder), clips_per_shard=4)
    writer.write(DrawnClips(), {})
    (folder / 'index.json').unlink()
    (folder / 'clips-000001.json').write_text('{"settings"')
    (folder / 'clips-000001.tar').write_bytes(b'half')
    source, advanced = DrawnClips(), []
    again = writer.write(source, {}, advance=advanced.append)
    assert source.asked == [4, 5, 6, 7]
    assert sum(advanced) == 10
    assert again['shardlist'] == whole['shardlist']
    assert sorted(f.name for f in folder.iterdir()) == sorted(
        f.name for f in (tmp_path / 'whole').iterdir())


def test_other_settings_are_refused(shards: Path) -> None:
    """A folder is never filled from two sources."""
    with pytest.raises(UserError, match='other settings; give a new folder'):
        ShardWriter(str(shards), clips_per_shard=4, quality=50).write(DrawnClips(), {})
    with pytest.raises(UserError, match='other settings; give a new folder'):
        ShardWriter(str(shards), clips_per_shard=4).write(DrawnClips(), {'kind': 'street'})


def test_processes_write_the_same(shards: Path, tmp_path: Path) -> None:
    """Two processes write byte for byte what one does."""
    ShardWriter(str(tmp_path), clips_per_shard=4).write(DrawnClips(), {}, workers=2)
    files = {file.name: file.read_bytes() for file in shards.glob('*.tar')}
    assert files and files == {file.name: file.read_bytes() for file in tmp_path.glob('*.tar')}


def test_object_storage() -> None:
    """Shards go to and come from a store without folders or renaming."""
    ShardWriter('memory://bucket/shards', clips_per_shard=4).write(DrawnClips(), {})
    clips = ShardClips('memory://bucket/shards')
    check_clip(clips.clip(6), DrawnClips().clip(6))
    assert sum(name.endswith('.tar') for name in fsspec.filesystem('memory').ls(
        '/bucket/shards', detail=False)) == 3


def test_only_the_wanted_bytes_are_read(shards: Path, server: str) -> None:
    """Over HTTP a batch asks for the index once and then for its own samples alone."""
    clips = ShardClips(server)
    found = clips.clips([9, 2, 2])
    assert same(found[0], ShardClips(str(shards)).clip(9))
    assert same(found[1], found[2])
    assert Asked.requests[0] == ('index.json', '')
    index = json.loads((shards / 'index.json').read_text())['shardlist']
    ranges = [
        ('clips-000002.tar', f'bytes={index[2]["starts"][1]}-{index[2]["starts"][2] - 1}'),
        ('clips-000000.tar', f'bytes={index[0]["starts"][2]}-{index[0]["starts"][3] - 1}'),
    ]
    assert sorted(Asked.requests[1:]) == sorted([*ranges, ranges[1]])


def test_damaged_sample_is_replaced(shards: Path, tmp_path: Path) -> None:
    """One flipped byte costs one sample: named, counted, replaced alike in every process."""
    folder = copied(shards, tmp_path)
    whole = ShardClips(str(shards))
    data = bytearray((folder / 'clips-000001.tar').read_bytes())
    data[int(whole.samples[5, 1]) + 2000] ^= 1
    (folder / 'clips-000001.tar').write_bytes(data)
    clips = ShardClips(str(folder))
    found = clips.clips(range(10))
    assert [i for i in range(10) if not same(found[i], whole.clip(i))] == [5]
    assert any(same(found[5], whole.clip(i)) for i in range(10))
    assert same(found[5], ShardClips(str(folder)).clip(5))
    assert clips.problems.counts == {f'{folder}/clips-000001.tar': 1}
    assert 'the checksum of a sample differs' in clips.problems.summary() + ''.join(
        clips.problems.reasons.values())


@pytest.mark.parametrize('damage', ['missing', 'cut'])
def test_damaged_shard_is_replaced(shards: Path, tmp_path: Path, damage: str) -> None:
    """Samples of a shard that is gone or cut short are replaced by those of others."""
    folder = copied(shards, tmp_path)
    shard = folder / 'clips-000001.tar'
    if damage == 'missing':
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:100])
    clips, whole = ShardClips(str(folder)), ShardClips(str(shards))
    found = clips.clips(range(10))
    assert [i for i in range(10) if not same(found[i], whole.clip(i))] == [4, 5, 6, 7]
    assert list(clips.problems.counts) == [str(shard)]
    assert clips.problems.counts[str(shard)] >= 4


def test_nothing_left_is_an_error(shards: Path, tmp_path: Path) -> None:
    """Where no shard can be read, reading stops and says why."""
    (tmp_path / 'index.json').write_bytes((shards / 'index.json').read_bytes())
    with pytest.raises(UserError, match='cannot be read.*clips-00000'):
        ShardClips(str(tmp_path)).clip(0)


@pytest.mark.parametrize('text, reason', [
    (None, 'no index.json there'), ('{', 'no index of shards'), ('{}', 'no index of shards')])
def test_bad_index_is_named(tmp_path: Path, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / 'index.json').write_text(text)
    with pytest.raises(UserError, match=reason):
        ShardClips(str(tmp_path))


def test_command_writes_street_shards(tmp_path: Path) -> None:
    """The command of the README writes shards of the street world and their figures."""
    result = subprocess.run(
        [sys.executable, '-m', 'deltaworld_training.cli', 'shards', '--kind', 'street',
         '--output', str(tmp_path / 'street'), '--clips', '3', '--clips-per-shard', '2',
         '--width', '64', '--height', '64', '--frames', '2', '--workers', '0',
         '--json', str(tmp_path / 'figures.json')],
        capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures['clips'] == 3
    assert figures['shards'] == 2
    clip = ShardClips(str(tmp_path / 'street')).clip(2)
    assert clip.frames.shape == (2, 64, 64, 3)
    assert clip.labels is not None
    assert clip.depth is not None
