# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which samples make up the batch of a step: a pure function of the seed and the step."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from deltaworld_ros.errors import UserError

# Of every so many samples each source gives its exact share.
BLOCK = 1024
_SOURCES, _ORDER = 0, 1


class Mixture:
    """
    An endless stream of (source, index) pairs: sample number n is the same in every process.

    Each source gives its share of every block of 1024 samples, and passes through all its own
    samples in a new random order before one comes again.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], seed: int):
        """Take the sources' numbers of samples, their weights (any sum) and the seed."""
        if len(lengths) != len(weights) or not lengths:
            raise UserError(f'{len(weights)} weights for {len(lengths)} sources; give one each')
        if min(weights) <= 0.0:
            raise UserError(f'weights {list(weights)}: each must be above 0')
        if min(lengths) <= 0:
            raise UserError(f'source {list(lengths).index(min(lengths))} has no samples')
        self.lengths = list(lengths)
        self.seed = seed
        self.counts = _counts(np.asarray(weights, float) / sum(weights))
        self._block: tuple[int, np.ndarray, np.ndarray] | None = None
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def draw(self, number: int) -> tuple[int, int]:
        """Return the source and the index in it of sample `number`."""
        block, position = divmod(number, BLOCK)
        if self._block is None or self._block[0] != block:
            self._block = block, *self._draw_block(block)
        source = int(self._block[1][position])
        turn = block * self.counts[source] + int(self._block[2][position])
        epoch, place = divmod(int(turn), self.lengths[source])
        if source not in self._orders or self._orders[source][0] != epoch:
            generator = np.random.default_rng((self.seed, _ORDER, source, epoch))
            self._orders[source] = epoch, generator.permutation(self.lengths[source])
        return source, int(self._orders[source][1][place])

    def _draw_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the source of each sample of a block, and how many of it came before."""
        sources = np.random.default_rng((self.seed, _SOURCES, block)).permutation(
            np.repeat(np.arange(len(self.counts)), self.counts))
        before = np.empty(BLOCK, int)
        for source, count in enumerate(self.counts):
            before[sources == source] = np.arange(count)
        return sources, before


def _counts(shares: np.ndarray) -> np.ndarray:
    """Divide a block by the sources' shares; the rarest source still gets one sample."""
    if len(shares) > BLOCK:
        raise UserError(f'{len(shares)} sources; at most {BLOCK} can be mixed')
    counts = np.maximum(1, np.floor(shares * BLOCK)).astype(int)
    while (missing := BLOCK - counts.sum()) != 0:
        step = int(np.sign(missing))
        counts[(step * (shares * BLOCK - counts)).argmax()] += step
    return counts


class StepSampler(Sampler[list[tuple[int, int]]]):
    """
    One rank's batches of (source, index) pairs, from any step on, without end.

    Sample number n = step * batch + position, with `batch` the global batch of one optimiser
    step. Rank r of W takes positions r b .. r b + b - 1, b = batch / W, in `accumulate` batches
    one after the other. Nothing is carried from step to step, so a run that is resumed, or is
    divided among more ranks, sees the same samples.
    """

    def __init__(
        self, mixture: Mixture, batch: int, rank: int = 0, world_size: int = 1,
        accumulate: int = 1, first_step: int = 0,
    ):
        """Take the stream, the global batch, this rank's place and the step to start at."""
        if batch % (world_size * accumulate):
            raise UserError(
                f'batch {batch} is not divisible by {world_size} processes x {accumulate} '
                'accumulated batches')
        self.mixture = mixture
        self.batch = batch
        self.first = rank * (batch // world_size)
        self.size = batch // world_size // accumulate
        self.accumulate = accumulate
        self.first_step = first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield batches from the first step on."""
        for step in itertools.count(self.first_step):
            for part in range(self.accumulate):
                start = step * self.batch + self.first + part * self.size
                yield [self.mixture.draw(start + i) for i in range(self.size)]
