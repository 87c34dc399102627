# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video files of any kind that FFmpeg reads, decoded only where they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import BrokenFile

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.avi', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.ts')
_DETOUR = 10


@dataclass(frozen=True)
class VideoFile:
    """The first video stream of a file; reading seeks to the key frame before the first frame."""

    path: Path

    @property
    def name(self) -> str:
        """Return the file."""
        return str(self.path)

    def times(self) -> np.ndarray:
        """Return the presentation times (F,) s; only packets are read for it, no frame decoded."""
        stamps, base = _stamps(self.path)
        return stamps * float(base)

    def read(self, indices: Sequence[int]) -> Clip:
        """Decode these frames (F, h, w, 3)."""
        stamps, base = _stamps(self.path)
        wanted = stamps[list(indices)]
        try:
            with av.open(str(self.path)) as container:
                # Workers already use every core.
                container.streams.video[0].thread_count = 1
                # Where a container's index is poor, seeking may end behind the frame.
                detour = int(_DETOUR / base)
                for start in (wanted[0], wanted[0] - detour, stamps[0] - detour):
                    found = _decode(container, wanted, int(start))
                    if len(found) == len(wanted):
                        break
        except av.FFmpegError as error:
            raise BrokenFile(self.path, error) from None
        missing = [stamp for stamp in wanted if stamp not in found]
        if missing:
            raise BrokenFile(
                self.path, f'no frame could be decoded at {float(missing[0] * base):.3f} s')
        frames = [found[stamp] for stamp in wanted]
        if any(frame.shape != frames[0].shape for frame in frames):
            raise BrokenFile(self.path, 'the size of the frames changes')
        return Clip(np.stack(frames), wanted * float(base))


# The packets' times of a Kinetics video take 2 kB; those of an hour at 30 Hz 860 kB.
@lru_cache(maxsize=256)
def _stamps(path: Path) -> tuple[np.ndarray, Fraction]:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BrokenFile(path, 'there is no video in it')
            stream = container.streams.video[0]
            stamps = {
                packet.dts if packet.pts is None else packet.pts
                for packet in container.demux(stream)
                # The last packet is empty; those before the start of an edit are not shown.
                if packet.size and not packet.is_discard}
            base = stream.time_base
    except (av.FFmpegError, OSError) as error:
        raise BrokenFile(path, error) from None
    if not stamps or None in stamps:
        raise BrokenFile(path, 'its frames have no timestamps')
    return np.array(sorted(stamps), np.int64), base


def _decode(
    container: 'av.container.InputContainer', wanted: np.ndarray, start: int,
) -> dict[int, np.ndarray]:
    """Decode from the key frame before `start` to the last wanted stamp."""
    stream = container.streams.video[0]
    container.seek(start, stream=stream)
    missing, found = set(wanted.tolist()), {}
    for frame in container.decode(stream):
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp in missing:
            found[stamp] = frame.to_ndarray(format='rgb24')
            missing.remove(stamp)
        if not missing or stamp > wanted[-1]:
            break
    return found


def find_videos(folder: Path) -> list[Path]:
    """Return all videos below a folder, sorted."""
    return sorted(
        path for path in folder.rglob('*')
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith('._'))


def open_videos(path: str | Path | Sequence[str | Path]) -> list[VideoFile]:
    """Return a file, a list of files, or every video below a folder."""
    if not isinstance(path, (str, Path)):
        return [VideoFile(Path(item)) for item in path]
    path = Path(path)
    if path.is_file():
        return [VideoFile(path)]
    found = find_videos(path)
    if not found:
        raise UserError(f'{path}: no such file, or a folder without videos '
                        f'({", ".join(VIDEO_SUFFIXES)})')
    return [VideoFile(item) for item in found]
