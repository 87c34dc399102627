# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of recordings, drawn at random for training."""

from collections.abc import Iterator, Sequence

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.crops import Crop, cut
from deltaworld_training.data.problems import Problems
from deltaworld_training.data.recordings import Recording
from deltaworld_training.data.sampling import Sampling

_DRAWS = 8


class SampledClips:
    """
    Clip `index` is a pure function of (seed, index) and the files: recording, times and crop.

    A recording that cannot be read, or gives no clip, is counted in `problems` and another one is
    drawn; only where none is left does `clip` raise `UserError`.
    """

    def __init__(
        self, recordings: Sequence[Recording], sampling: Sampling, crop: Crop,
        size: tuple[int, int], clips: int, seed: int, problems: Problems | None = None,
    ):
        """Take what to draw from and how, the target (w, h), and the number of clips."""
        if not recordings:
            raise UserError('no recordings to draw clips from')
        self.recordings = recordings
        self.sampling = sampling
        self.crop = crop
        self.size = size
        self.clips = clips
        self.seed = seed
        self.problems = Problems() if problems is None else problems

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.clips

    def clip(self, index: int) -> Clip:
        """Draw clip `index`: frames (F, h, w, 3) uint8 and their own times, starting at 0 s."""
        generator = np.random.default_rng((self.seed, index))
        for number in self._candidates(generator):
            recording = self.recordings[number]
            # Each recording has its own numbers, however many the one before it took.
            draw = np.random.default_rng((self.seed, index, number))
            try:
                indices = self.sampling.draw(recording.times(), draw)
                clip = recording.read(indices.tolist())
                height, width = clip.frames.shape[1:3]
                region = self.crop.region((width, height), self.size, draw)
                clip = cut(clip, region, self.size)
            except (UserError, OSError) as error:
                self.problems.add(recording.name, error)
                continue
            return Clip(clip.frames, clip.times - clip.times[0], clip.labels, clip.depth,
                        clip.focal_length)
        raise UserError(
            f'none of the {len(self.recordings)} recordings gives a clip; '
            f'{self.problems.summary()}')

    def _candidates(self, generator: np.random.Generator) -> Iterator[int]:
        """Yield recordings at random, and at last every one: the order is fixed by the clip."""
        count = len(self.recordings)
        for _ in range(_DRAWS):
            yield int(generator.integers(count))
        yield from generator.permutation(count).tolist()
