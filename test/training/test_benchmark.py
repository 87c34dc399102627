# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The dense forecasting benchmark on small trees against an independent computation."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.recordings import write_image
from support.vit_bundle import vit_manifest, vit_networks
from typer.testing import CliRunner

from deltaworld_ros.bundle.manifest import Manifest, write_manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.converted_bundle import KITTI_FOCAL_LENGTH
from deltaworld_ros.export.graphs import ObserveGraph, RolloutGraph
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.heads import SegmentationHead
from deltaworld_ros.model.networks import Networks, save_networks
from deltaworld_training.benchmark.report import benchmark_markdown
from deltaworld_training.benchmark.run import Subject, run_benchmark
from deltaworld_training.benchmark.square_crops import SquareCrops
from deltaworld_training.cli import app
from deltaworld_training.data.sources import open_windows

SIDE = 64
SAMPLES = 3


def subject(classes: int) -> Subject:
    """Make a small random ViT with a head of so many classes."""
    networks = copy.deepcopy(vit_networks(1, 128, 2, (4, 4)))
    generator = torch.Generator().manual_seed(classes)
    networks.segmentation = SegmentationHead(128, classes).eval()
    networks.segmentation.head.weight.data.normal_(generator=generator)
    # It sees few classes, and all of them, so that some of its pixels are right.
    networks.segmentation.head.bias.data[6:] = -1e4
    with torch.inference_mode():
        seen = networks.backbone(torch.from_numpy(
            moving_frames(8, SIDE, SIDE)).permute(0, 3, 1, 2)).flatten(0, 1)
    networks.segmentation.bn.running_mean.copy_(seen.mean(0))
    networks.segmentation.bn.running_var.copy_(seen.var(0))
    manifest = vit_manifest(networks).model_copy(update={
        'noise_std': 0.5, 'focal_length': KITTI_FOCAL_LENGTH * SIDE / 512})
    return Subject(networks, manifest)


def moving_frames(count: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return frames (count, h, w, 3) of a coarse pattern that moves to the left."""
    wide = np.random.default_rng(seed).integers(0, 255, (4, 12, 3), np.uint8)
    wide = cv2.resize(wide, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, 2 * number:2 * number + width] for number in range(count)])


def bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize maps (C, rows, columns) linearly between the centres of pixels, edges repeated."""
    for axis, size in ((1, height), (2, width)):
        old = maps.shape[axis]
        places = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.minimum(places.astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (places - low).reshape([-1 if one == axis else 1 for one in range(3)])
        maps = (1 - share) * maps.take(low, axis) + share * maps.take(high, axis)
    return maps


def last_features(networks: Networks, m: Manifest, frames: np.ndarray, times: np.ndarray,
                  steps: int, noise: np.ndarray) -> dict[str, torch.Tensor]:
    """Forecast one crop's last of seven frames as the graphs of a bundle would."""
    observe = ObserveGraph(networks.backbone, networks.tokenizer)
    first = 7 - 4 - steps
    previous = torch.zeros(1, m.num_patches, m.feature_size)
    features, tokens = [], []
    for number in range(first, 7):
        seen, delta, anchor = observe(torch.from_numpy(frames[number:number + 1]), previous)
        tokens.append(anchor if number == first else delta)
        features.append(seen)
        previous = seen
    ahead = times[first:] - times[first + 3]
    angles = 2 * np.pi * ahead[:, None] * np.array(m.rotary_frequencies)
    future = RolloutGraph(networks.world)(
        torch.stack(tokens[:4], 1), torch.from_numpy(np.cos(angles)).float()[None],
        torch.from_numpy(np.sin(angles)).float()[None],
        torch.from_numpy(m.noise_std * noise).float()[None])
    found = []
    for sample in range(SAMPLES):
        x = features[3]
        for step in range(steps):
            x = networks.tokenizer.decode(future[:, sample, step], x)
        found.append(x)
    loss = torch.nn.SmoothL1Loss(beta=0.1)
    distances = [float(loss(x, features[-1])) for x in found]
    again = features[3]
    for step in range(steps):
        again = networks.tokenizer.decode(
            networks.tokenizer.encode(again, features[4 + step]), again)
    return {'best': found[int(np.argmin(distances))], 'mean': sum(found) / SAMPLES,
            'reconstruction': again, 'copy_last': features[3], 'present': features[-1]}


@torch.inference_mode()
def expected(kind: str, one: Subject, windows: list[tuple[np.ndarray, np.ndarray]],
             times: np.ndarray) -> dict[str, dict[str, float]]:
    """Score windows of seven frames and their last truth (h, w), crop by crop."""
    metrics = pytest.importorskip('torchmetrics')
    scores: dict[str, dict[str, float]] = {}
    for number, (horizon, steps) in enumerate({'short': 1, 'mid': 3}.items()):
        kept: dict[str, object] = {}
        for place, (frames, truth) in enumerate(windows):
            height, width = frames.shape[1:3]
            scale = SIDE / min(height, width)
            size = (min(round(width * scale), 2 * SIDE), min(round(height * scale), 2 * SIDE))
            small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
                              for frame in frames])
            noise = np.random.default_rng((0, place, number)).standard_normal(
                (2, SAMPLES, steps, one.manifest.noise_size), dtype=np.float32)
            wide = width > height
            middle = truth.shape[1 if wide else 0] // 2
            for crop in range(2):
                square = small[:, :SIDE, :SIDE] if crop == 0 else small[:, -SIDE:, -SIDE:]
                half = (slice(None), slice(None, middle) if crop == 0 else slice(middle, None))
                half = half if wide else half[::-1]
                for way, features in last_features(
                        one.networks, one.manifest, np.ascontiguousarray(square), times, steps,
                        noise[crop]).items():
                    head = one.networks.depth if kind == 'kitti' else one.networks.segmentation
                    maps = head(features.mT.unflatten(2, (4, 4)))[0].numpy()
                    # The size of the larger half, which the first crop's maps have too.
                    rows, columns = truth.shape
                    rows, columns = (rows, columns - middle) if wide else (rows - middle, columns)
                    if max(size) == 2 * SIDE:
                        maps = bilinear(maps, rows, columns)
                    else:
                        full = bilinear(maps, max(rows, columns), max(rows, columns))
                        maps = full[:, :rows, :columns] if crop == 0 else \
                            full[:, -rows:, -columns:]
                    seen = truth[half]
                    maps = torch.from_numpy(maps[:, :seen.shape[0], :seen.shape[1]])
                    if kind == 'kitti':
                        metric = kept.setdefault(way, metrics.MeanSquaredError(squared=False))
                        known = np.isfinite(seen)
                        metric.update(
                            maps[0][known].float(), torch.from_numpy(seen[known]).float())
                    else:
                        metric = kept.setdefault(way, metrics.JaccardIndex(
                            'multiclass', num_classes=len(maps), ignore_index=255))
                        metric.update(maps[None], torch.from_numpy(seen.astype(np.int64))[None])
        scores[horizon] = {way: float(metric.compute()) * (1 if kind == 'kitti' else 100)
                           for way, metric in kept.items()}
    return scores


def check(kind: str, one: Subject, windows: list, truths: list, times: np.ndarray) -> dict:
    result = run_benchmark(kind, one, windows, samples=SAMPLES)
    wanted = expected(kind, one, [
        (window.recording.read(window.indices.tolist()).frames, truth)
        for window, truth in zip(windows, truths, strict=True)], times)
    for horizon, by_way in wanted.items():
        assert result['horizons'][horizon] == pytest.approx(by_way, rel=2e-3), horizon
        # Every way sees something else, so that no mixed-up one passes.
        assert len({round(value, 6) for value in by_way.values()}) == 5
    assert wanted['short']['present'] == wanted['mid']['present']
    assert result['windows'] == len(windows) and result['samples'] == SAMPLES
    return result


def test_vspw_with_crops_that_overlap(tmp_path: Path) -> None:
    truths = []
    for video, (width, height) in {'wide': (101, 75), 'tall': (60, 90)}.items():
        frames = moving_frames(20, width, height)
        for number, frame in enumerate(frames):
            write_image(tmp_path / 'data' / video / 'origin' / f'{number:08d}.jpg', frame)
            mask = 1 + (frame[..., 0] // 40)
            mask[:5] = 0
            write_image(tmp_path / 'data' / video / 'mask' / f'{number:08d}.png', mask)
        truths.append(np.where(mask == 0, 255, mask - 1).astype(np.uint8))
    (tmp_path / 'val.txt').write_text('wide\ntall\n')
    windows = open_windows('vspw', tmp_path)
    one = subject(124)
    result = check('vspw', one, windows, truths, 0.2 * np.arange(7))
    assert result['metric'] == 'mIoU, %'
    # Noise belongs to a window, not to the run.
    assert run_benchmark('vspw', one, windows, samples=SAMPLES) == result
    assert run_benchmark('vspw', one, windows, samples=SAMPLES, seed=1) != result
    with pytest.raises(UserError, match='124 classes, cityscapes has 19; name the head'):
        run_benchmark('cityscapes', one, windows)


def write_cityscapes(root: Path) -> np.ndarray:
    """Write a snippet of 30 frames; give the label ids of frame 19."""
    labels = np.zeros(0, np.uint8)
    for number, frame in enumerate(moving_frames(30, 160, 80)):
        name = f'frankfurt_000000_{number:06d}_'
        write_image(root / 'leftImg8bit_sequence' / 'val' / 'frankfurt'
                    / f'{name}leftImg8bit.png', frame)
        if number == 19:
            labels = np.array([7, 8, 11, 26, 0], np.uint8)[frame[..., 1] // 52]
            write_image(root / 'gtFine' / 'val' / 'frankfurt'
                        / f'{name}gtFine_labelIds.png', labels)
    return labels


def test_cityscapes_in_two_halves(tmp_path: Path) -> None:
    labels = write_cityscapes(tmp_path)
    truth = np.full(256, 255, np.uint8)
    truth[[7, 8, 11, 26]] = 0, 1, 2, 13
    check('cityscapes', subject(19), open_windows('cityscapes', tmp_path), [truth[labels]],
          0.1875 * np.arange(7))


def test_kitti_squashed_and_masked(tmp_path: Path) -> None:
    date, drive = '2011_09_26', '2011_09_26_drive_0002_sync'
    camera = tmp_path / date / drive / 'image_02'
    frames = moving_frames(30, 1242, 375)
    rng = np.random.default_rng(0)
    for number, frame in enumerate(frames):
        write_image(camera / 'data' / f'{number:010d}.png', frame)
    stored = (256 * rng.uniform(0, 90, (375, 1242))).astype(np.uint16)
    stored[::2] = 0
    depth_folder = tmp_path / 'val' / drive / 'proj_depth' / 'groundtruth' / 'image_02'
    write_image(depth_folder / f'{22:010d}.png', stored)
    (tmp_path / date / 'calib_cam_to_cam.txt').write_text(
        'P_rect_02: 7.215377e+02 0.0e+00 6.1e+02 4.5e+01 0 7.2e+02 1.7e+02 0 0 0 1 0\n')
    split = tmp_path / 'eigen.txt'
    split.write_text(f'{date}/{drive}/image_02/data/{22:010d}.png x.png 721.5\n')
    truth = stored[375 - 352:, 13:13 + 1216] / 256
    scored = np.zeros(truth.shape, bool)
    scored[143:349, 43:1172] = True
    truth = np.where(scored & (truth > 1e-3) & (truth < 80), truth, np.nan)
    windows = open_windows('kitti', tmp_path, split_file=split)
    one = subject(6)
    result = check('kitti', one, windows, [truth], 0.2 * np.arange(7))
    text = benchmark_markdown(result)
    assert f'| best of 3 * | vit, measured | {result["horizons"]["short"]["best"]:.2f} |' in text
    assert '| DeltaWorld, best of 20 | released weights, as published | 2.95 | 3.71 |' in text
    assert '| Cosmos-12B, mean of 20 | paper, table 3; Cosmos, cited | 3.71 | 4.14 |' in text
    # Heads of another canonical focal length see the same metres.
    far = Subject(one.networks, one.manifest.model_copy(update={
        'focal_length': one.manifest.focal_length / 2}))
    assert run_benchmark('kitti', far, windows, samples=SAMPLES)['horizons'] != result['horizons']


def test_the_crops_of_common_sizes() -> None:
    assert SquareCrops(1216, 352, 512).resized == (1024, 512)
    assert SquareCrops(2048, 1024, 512).resized == (1024, 512)
    assert SquareCrops(853, 480, 512).resized == (910, 512)
    assert SquareCrops(480, 853, 512).resized == (512, 910)
    square = SquareCrops(300, 300, 64)
    assert square.count == 1 and square.halves(np.zeros((300, 300)))[0].shape == (300, 300)
    frame = np.zeros((2, 300, 300, 3), np.uint8)
    assert square.frames(frame).shape == (1, 2, 64, 64, 3)
    halves = SquareCrops(853, 480, 512).halves(np.zeros((480, 853)))
    assert [half.shape for half in halves] == [(480, 426), (480, 427)]


def test_the_command_prints_our_row_beside_the_others(tmp_path: Path) -> None:
    root, folder = tmp_path / 'cityscapes', tmp_path / 'bundle'
    write_cityscapes(root)
    one = subject(19)
    one.networks.sizes['segmentation'] = {'kind': 'linear', 'size': 128, 'classes': 19}
    m = one.manifest
    export_bundle(folder, m, one.networks, moving_frames(m.context_length, SIDE, SIDE),
                  m.stride * np.arange(m.context_length), None, 'none')
    save_networks(one.networks, folder / 'networks.safetensors')
    write_manifest(folder, one.manifest)
    arguments = ['cityscapes', str(root), '--bundle', str(folder), '--samples', '2']
    result = CliRunner().invoke(app, ['benchmark', *arguments, '--json', str(tmp_path / 'a.json'),
                                      '--markdown', str(tmp_path / 'a.md')])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / 'a.json').read_text())
    assert written['windows'] == 1 and written['horizons']['mid']['present'] > 0
    text = (tmp_path / 'a.md').read_text()
    assert '| best of 2 * | vit, measured |' in text and '| DINO-world | paper, table 3 |' in text
    assert 'Cosmos-4B' in result.output
    for changes, problem in (({1: str(tmp_path / 'none')}, 'there is no such file or folder'),
                             ({0: 'ade20k'}, 'must be one of vspw, cityscapes, kitti'),
                             ({0: 'kitti'}, '--split-file')):
        words = [changes.get(place, word) for place, word in enumerate(arguments)]
        failed = CliRunner().invoke(app, ['benchmark', *words])
        assert isinstance(failed.exception, UserError) and problem in str(failed.exception)


def test_bundles_that_do_not_fit_are_refused() -> None:
    one = subject(124)
    for changes, text in (({'image_width': 96}, 'takes images of 96x64 pixels'),
                          ({'context_length': 3}, 'has a context of 3 frames')):
        with pytest.raises(UserError, match=text):
            Subject(one.networks, one.manifest.model_copy(update=changes)).check('kitti')
    result = {'benchmark': 'kitti', 'bundle': 'b', 'metric': 'RMSE, m', 'windows': 0, 'side': 64,
              'samples': 1, 'seed': 0, 'horizons': {
                  name: dict.fromkeys(('best', 'mean', 'reconstruction', 'copy_last', 'present'))
                  for name in ('short', 'mid')}}
    assert 'best of 1' not in benchmark_markdown(result)
    json.dumps(result, allow_nan=False)
