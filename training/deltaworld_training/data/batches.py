# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the processes that load run; without Lightning, whose import takes them seconds."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from deltaworld_training.data.clip import Clip, ClipSource
from deltaworld_training.data.shard_stream import ShardClips
from deltaworld_training.data.truth_maps import truth_maps


class Batches(Dataset):
    """Whole batches by their (source, index) pairs; a source is a torch Dataset of dicts."""

    def __init__(self, sources: Sequence[Any]):
        """Take the sources; one with `__getitems__` is asked for all its samples at once."""
        self.sources = sources

    def __getitem__(self, pairs: list[tuple[int, int]]) -> dict[str, torch.Tensor]:
        """Return one batch: every array of the samples, stacked in the order of the pairs."""
        samples: dict[int, dict] = {}
        for number, source in enumerate(self.sources):
            places = [place for place, pair in enumerate(pairs) if pair[0] == number]
            indices = [pairs[place][1] for place in places]
            if hasattr(source, '__getitems__') and indices:
                found = source.__getitems__(indices)
            else:
                found = [source[index] for index in indices]
            samples.update(zip(places, found, strict=True))
        batch: dict[str, torch.Tensor] = default_collate(
            [samples[place] for place in range(len(pairs))])
        return batch


class ClipItems(Dataset):
    """The clips of a source as the arrays of a batch; with a focal length, their truth too."""

    def __init__(self, source: ClipSource, focal_length: float | None = None):
        """Take the source and the canonical focal length in pixels of its frames."""
        self.source = source
        self.focal_length = focal_length

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.source)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the arrays of several clips; shards are asked for all of them at once."""
        if isinstance(self.source, ShardClips):
            clips = self.source.clips(indices)
        else:
            clips = [self.source.clip(index) for index in indices]
        return [self._arrays(clip) for clip in clips]

    def _arrays(self, clip: Clip) -> dict[str, Any]:
        arrays = {'frames': clip.frames, 'times': clip.times}
        if self.focal_length is not None:
            arrays['labels'], arrays['depth'] = truth_maps(clip, self.focal_length)
        return arrays
