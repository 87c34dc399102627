# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches follow from the seed and the step alone: over ranks, workers, sources and resumes."""

import itertools
from pathlib import Path

import cv2
import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deltaworld_ros.errors import UserError
from deltaworld_training.data.batches import Batches, ClipItems
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.clip_data import ClipData
from deltaworld_training.data.feature_data import FeatureData
from deltaworld_training.data.feature_store import Windows
from deltaworld_training.data.open_source import Drawing, SourceSettings, open_source
from deltaworld_training.data.sampler import BLOCK, Mixture, StepSampler
from deltaworld_training.data.shards import ShardWriter

SIZE = (64, 64)


def windows(clips: int = 9, frames: int = 4, length: int = 2, first: float = 0.0) -> Windows:
    """Windows whose features name their clip and frame."""
    features = first + np.arange(clips * frames, dtype=np.float32).reshape(clips, frames, 1, 1)
    return Windows({'features': features, 'times': features[..., 0, 0]}, np.arange(clips), length)


class Recorder(lightning.LightningModule):
    """A stage of one weight that keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[float]] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        self.seen.append(batch['features'][:, 0, 0, 0].tolist())
        return self.weight * batch['features'].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.001)


def fit(folder: Path, steps: int, checkpoint: Path | None = None,
        accumulate: int = 2) -> tuple[list[list[float]], Path]:
    stage = Recorder()
    trainer = lightning.Trainer(
        max_steps=steps, accelerator='cpu', devices=1, accumulate_grad_batches=accumulate,
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False)
    data = FeatureData([windows(), windows(first=1000.0)], [3.0, 1.0], batch=4, seed=5)
    trainer.fit(stage, data, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    trainer.save_checkpoint(folder / f'{steps}.ckpt')
    return stage.seen, folder / f'{steps}.ckpt'


def first_batches(data: lightning.LightningDataModule, count: int) -> list[dict[str, Tensor]]:
    data.setup('fit')
    return list(itertools.islice(data.train_dataloader(), count))


def check_equal(some: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> None:
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(torch.nan_to_num(one[name]), torch.nan_to_num(other[name])), name


def test_every_source_gives_its_share_of_all_its_samples() -> None:
    """Shares are exact a block, and no sample comes twice before all came once."""
    mixture = Mixture([100, 7, 5000], [0.5, 0.3, 0.2], seed=3)
    drawn = [mixture.draw(number) for number in range(4 * BLOCK)]
    for block in range(4):
        counts = np.bincount([s for s, _ in drawn[block * BLOCK:(block + 1) * BLOCK]])
        assert counts.tolist() == [512, 307, 205]
    for source, length in ((0, 100), (1, 7)):
        of_source = [index for s, index in drawn if s == source]
        for start in range(0, len(of_source) - length, length):
            assert sorted(of_source[start:start + length]) == list(range(length))
    assert len({index for s, index in drawn if s == 2}) == 4 * 205
    orders = [tuple(i for s, i in drawn if s == 0)[k:k + 100] for k in (0, 100)]
    assert orders[0] != orders[1]


def test_a_sample_follows_from_its_number() -> None:
    """In whatever order they are drawn, and after whatever came before."""
    numbers = [5000, 3, 2047, 2048, 0, 70000, 3]
    one = Mixture([100, 7], [1.0, 1e-9], seed=3)
    assert [one.draw(n) for n in numbers] == [
        Mixture([100, 7], [1.0, 1e-9], seed=3).draw(n) for n in numbers]
    assert [one.draw(n) for n in range(50)] != [
        Mixture([100, 7], [1.0, 1e-9], seed=4).draw(n) for n in range(50)]
    # Even the rarest source comes once a block.
    assert sum(one.draw(n)[0] for n in range(BLOCK)) == 1


@pytest.mark.parametrize('world_size, accumulate', [(1, 2), (2, 1), (2, 3), (4, 3)])
def test_ranks_divide_the_global_batch(world_size: int, accumulate: int) -> None:
    """What all ranks see in a step, one after the other, is what one process sees."""
    def steps(rank: int, world: int, parts: int, first: int = 0) -> list[list[tuple[int, int]]]:
        sampler = StepSampler(Mixture([50, 20], [2.0, 1.0], 1), 12, rank, world, parts, first)
        batches = itertools.islice(sampler, 4 * parts)
        return [list(itertools.chain(*group)) for group in zip(*[batches] * parts, strict=True)]
    whole = steps(0, 1, 1)
    ranks = [steps(rank, world_size, accumulate) for rank in range(world_size)]
    assert [list(itertools.chain(*of_step)) for of_step in zip(*ranks, strict=True)] == whole
    assert steps(world_size - 1, world_size, accumulate, 2)[:2] == ranks[-1][2:]


def test_resumed_run_sees_the_same_batches(tmp_path: Path) -> None:
    """Three steps, a checkpoint and three more are six unbroken ones, two batches each."""
    unbroken, _ = fit(tmp_path, 6)
    before, checkpoint = fit(tmp_path, 3)
    after, _ = fit(tmp_path, 6, checkpoint)
    assert len(before) == len(after) == 6
    assert before + after == unbroken
    # Without accumulation the same samples are in each step.
    plain, _ = fit(tmp_path, 6, accumulate=1)
    assert plain == [a + b for a, b in zip(unbroken[::2], unbroken[1::2], strict=True)]


def test_windows_load_from_every_source() -> None:
    parts = [windows(), windows(first=1000.0)]
    batches = first_batches(FeatureData(parts, [1.0, 2.0], batch=6), 5)
    assert batches[0]['features'].shape == (6, 2, 1, 1)
    assert {bool(value >= 1000) for value in batches[0]['times'][:, 0]} == {False, True}


@pytest.fixture(scope='module')
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SourceSettings]:
    """The street world, and the same size of clips as shards and as a folder of frames."""
    folder = tmp_path_factory.mktemp('sources')
    street = SourceSettings('street', options={'clips': 5})
    ShardWriter(str(folder / 'shards'), clips_per_shard=2).write(
        open_source(street, Drawing(SIZE, 2, 0.2, 0)), {})
    frames = folder / 'frames' / 'drive'
    frames.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(12):
        picture = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(frames / f'{number:04d}.png'), cv2.resize(picture, (128, 96)))
    return [
        street, SourceSettings('shards', str(folder / 'shards')),
        SourceSettings('frames', str(folder / 'frames'), options={'rate': 10.0, 'clips': 50}),
    ]


def test_clips_load_alike_in_workers(sources: list[SourceSettings]) -> None:
    """Two processes that render, read shards and decode frames give what one gives."""
    def data(workers: int) -> ClipData:
        return ClipData(sources, 4, SIZE, frames=2, stride=0.2, truth=True, focal_length=60.0,
                        workers=workers, seed=3)
    alone = first_batches(data(0), 3)
    check_equal(alone, first_batches(data(2), 3))
    batch = alone[0]
    assert batch['frames'].shape == (4, 2, 64, 64, 3)
    assert batch['frames'].dtype == torch.uint8
    assert batch['times'].shape == (4, 2)
    assert batch['times'].dtype == torch.float64
    assert batch['labels'].shape == batch['depth'].shape == (4, 2, 16, 16)
    unlabelled = torch.cat([(b['labels'] == 255).flatten(1).all(1) for b in alone])
    unknown = torch.cat([b['depth'].isnan().flatten(1).all(1) for b in alone])
    assert torch.equal(unlabelled, unknown)
    assert 0 < int(unlabelled.sum()) < 12


def test_depth_is_for_the_canonical_focal_length() -> None:
    """Twice the focal length sees things twice as far away; without one depth is unknown."""
    class One:
        def __init__(self, focal_length: float | None):
            self.focal_length = focal_length

        def __len__(self) -> int:
            return 1

        def clip(self, index: int) -> Clip:
            depth = np.full((1, 8, 8), 10.0)
            depth[0, :4, :4] = np.inf
            return Clip(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1), None, depth,
                        self.focal_length)
    batch = Batches([ClipItems(One(40.0), 80.0), ClipItems(One(None), 80.0)])[[(0, 0), (1, 0)]]
    assert batch['depth'].dtype == torch.float32
    assert batch['depth'][0, 0, 1, 1] == 20.0
    assert batch['depth'][0, 0, 0, 0].isnan()
    assert batch['depth'][1].isnan().all()
    assert (batch['labels'] == 255).all()
    assert ClipItems(One(40.0)).__getitems__([0])[0].keys() == {'frames', 'times'}


def test_street_draws_the_paper_offsets() -> None:
    """Without a stride the street's offsets are uniform in [1/25, 1/3] s."""
    source = open_source(SourceSettings('street'), Drawing((64, 64), 8, None, 0))
    steps = np.diff(np.stack([source.clip(index).times for index in range(3)]))
    assert (steps > 1 / 25).all() and (steps < 1 / 3).all()
    assert steps.std() > 0.05


@pytest.mark.parametrize('settings, reason', [
    (SourceSettings('tapes'), "source kind 'tapes': not one of street, shards, videos"),
    (SourceSettings('street', options={'seeds': 3}), "street: options .*'seeds'"),
    (SourceSettings('frames', '.', options={'fps': 3}), "frames: options .*'fps'"),
    (SourceSettings('videos', '.', options={'crop': 'left'}), "crop 'left' is not one of random"),
])
def test_wrong_sources_are_named(settings: SourceSettings, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        open_source(settings, Drawing(SIZE, 2, 0.2, 0))


def test_shards_of_another_size_are_refused(sources: list[SourceSettings]) -> None:
    with pytest.raises(UserError, match='hold 2 frames of 64x64, not 8 of 32x32'):
        open_source(sources[1], Drawing((32, 32), 8, None, 0))


@pytest.mark.parametrize('lengths, weights, batch, reason', [
    ([3, 4], [1.0], 4, '1 weights for 2 sources'), ([3], [0.0], 4, 'must be above 0'),
    ([3, 0], [1.0, 1.0], 4, 'source 1 has no samples'),
    ([3], [1.0], 5, 'batch 5 is not divisible by 2 processes x 1')])
def test_wrong_mixtures_are_named(
        lengths: list[int], weights: list[float], batch: int, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        StepSampler(Mixture(lengths, weights, 0), batch, 1, 2)
