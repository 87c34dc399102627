# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the heads learn from: strong looks, flat roads, agreement on looks; and its origin."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deltaworld_ros.errors import UserError
from deltaworld_training.data.strong_looks import strong_look
from deltaworld_training.data.video_clips import Video, VideoClips, moving_cut, read_video
from deltaworld_training.data.video_looks import VideoLooks, flat_road_depth
from deltaworld_training.runs import provenance
from deltaworld_training.runs.bundle_manifest import bundle_manifest
from deltaworld_training.runs.recipe import DataSettings, load_recipe
from deltaworld_training.stages.heads import disagreement, masked_cross_entropy


@pytest.fixture(scope='module')
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 10 Hz; the brightness of a frame is ten times its number."""
    path = tmp_path_factory.mktemp('videos') / 'drive.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 10.0, (160, 96))
    for number in range(20):
        writer.write(np.full((96, 160, 3), 10 * number, np.uint8))
    writer.release()
    return path


def test_a_strong_look_moves_nothing() -> None:
    """The edge between two classes stays where it is, whatever the look."""
    image = np.full((48, 80, 3), 90, np.uint8)
    image[:, 40:] = 160
    labels = np.zeros((48, 80), np.uint8)
    labels[:, 40:] = 3
    generator = np.random.default_rng(0)
    places = []
    for _ in range(60):
        seen = strong_look(image, generator, labels)
        assert seen.shape == image.shape and seen.dtype == np.uint8
        steps = np.abs(np.diff(seen.astype(np.float64).mean((0, 2))))
        if steps.max() > 8.0:
            places.append(int(steps.argmax()) + 1)
    assert len(places) > 20
    assert abs(np.median(places) - 40) < 1


def test_the_road_of_a_video_is_one_height_below_its_camera() -> None:
    depth = flat_road_depth((96, 160), Video(Path('x'), horizon=0.5, camera_height=1.3), 120.0)
    rows = np.arange(96) + 0.5 - 48
    known = np.isfinite(depth)
    assert not known[:48].any() and known[-1].all()
    np.testing.assert_allclose((depth * rows[:, None] / 120.0)[known], 1.3, rtol=1e-5)
    assert np.isnan(flat_road_depth((96, 160), Video(Path('x')), 120.0)).all()


def test_only_the_range_of_a_video_is_read(video: Path) -> None:
    frames, times = read_video(Video(video, start=0.5, end=1.0))
    assert len(frames) == 5 and times[0] == 0.0
    assert abs(frames[0].mean() - 50) < 6 and abs(frames[-1].mean() - 90) < 6
    with pytest.raises(UserError, match='no frames from 7 s'):
        read_video(Video(video, start=7.0))
    clip = VideoClips([Video(video)], 3, 4, 0.2, (64, 64), seed=1, augment=False).clip(0)
    assert clip.frames.shape == (4, 64, 64, 3)
    np.testing.assert_allclose(np.diff(clip.times), 0.2, atol=0.06)


def test_looks_of_a_picture_share_its_cut_and_its_road(video: Path) -> None:
    """Depth for the canonical camera follows from the height and the rows alone."""
    looks = VideoLooks([Video(video, horizon=0.5)], 20, (64, 32), seed=3)
    for index in range(5):
        clip = looks.clip(index)
        assert clip.frames.shape == (2, 32, 64, 3) and clip.labels is None
        assert clip.times[0] == clip.times[1]
        np.testing.assert_array_equal(clip.depth[0], clip.depth[1])
        inverse = clip.focal_length / clip.depth[0][:, 0]
        rows = np.flatnonzero(np.isfinite(inverse))
        if len(rows) > 4:   # linear in the rows, but for the nearest row of so small a picture
            slope = np.polyfit(rows, inverse[rows], 1)[0]
            assert abs(slope * 1.2 - 1) < 0.15


def test_heads_must_agree_on_looks_of_one_picture_only() -> None:
    scores, depth = torch.randn(4, 3, 2, 2), torch.rand(4, 1, 2, 2) + 1
    none = torch.tensor([[False], [False]])
    assert disagreement(scores, depth, none) == 0
    first = torch.tensor([[True], [False]])
    assert disagreement(scores, depth, first) > 0
    scores[1], depth[1] = scores[0], depth[0]
    assert disagreement(scores, depth, first) == pytest.approx(0.0, abs=1e-6)
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    masked_cross_entropy(logits, torch.full((1, 2, 2), 255), torch.ones(3)).backward()
    assert (logits.grad == 0).all()


def test_a_bundle_states_the_origin_of_its_own_videos_only() -> None:
    """Never that of others, and nothing where the recipe says nothing."""
    recipe = load_recipe('street-cpu')
    recipe.data = DataSettings(
        clip_frames=8, street_clips=5, video_clips=2, videos=[
            {'file': 'mine.mp4', 'start': 1.0, 'end': 3.0},
            {'file': 'theirs.mp4', 'origin': 'A fleet', 'licence': 'CC-BY-4.0',
             'copyright': 'Copyright 2020 A fleet', 'places': ['https://example.org/x']}])
    manifest = bundle_manifest(recipe)
    text = provenance.licence_text(manifest, 'theirs.mp4')
    said = text + ' '.join(manifest.training_data) + str(manifest.licences)
    assert 'Udacity' not in said and 'MIT' not in said
    assert 'mine.mp4, 1 s to 3 s (origin: not stated)' in manifest.training_data
    assert 'Copyright 2020 A fleet' in text and 'CC-BY-4.0' in text
    assert 'https://example.org/x' in manifest.sources
    shipped = bundle_manifest(load_recipe('street-cpu'))
    assert 'Permission is hereby granted' in provenance.licence_text(shipped, 'videos')
    assert 'Udacity' in str(shipped.licences)
    recipe.settings('heads').model['depth'] |= {'minimum': 0.5, 'maximum': 60.0}
    changed = bundle_manifest(recipe)
    assert (changed.depth_minimum, changed.depth_maximum) == (0.5, 60.0)


def test_a_moving_cut_pans_evenly() -> None:
    """A ramp's brightness tells where each frame was cut: the places lie on a line in time."""
    ramp = np.repeat(np.linspace(0, 255, 400)[None, :, None], 160, axis=0)
    images = np.repeat(ramp[None].astype(np.uint8), 4, axis=0).repeat(3, axis=-1)
    times = np.array([0.0, 0.1, 0.3, 0.4])
    moved = even = 0
    for seed in range(20):
        frames = moving_cut(images, times, (80, 48), np.random.default_rng(seed))
        assert all(frame.shape == (48, 80, 3) for frame in frames)
        place = np.array([frame.mean() for frame in frames])
        if np.ptp(place) < 0.5:
            continue
        moved += 1
        # A cut that meets the picture's edge stops there.
        assert (np.diff(place) * np.sign(place[-1] - place[0]) > -0.1).all()
        even += abs(np.corrcoef(place, times)[0, 1]) > 0.999
    assert 3 < moved < 17 and even >= 3
