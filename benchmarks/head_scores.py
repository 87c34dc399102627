# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score heads on the true features of the validation clips: a table of docs/quality.md.

Run as `python benchmarks/head_scores.py RUN FILE ...` after `deltaworld train bundle`, which
caches the clips in RUN/calibration_street and RUN/calibration_videos. The files are those of
heads stages. Rendered clips have true labels and depth. Of real video there is none: what is
printed is how far the maps of neighbouring frames, 0.2 s apart, agree, which noise lowers more
than motion does. Needs a CPU and a minute.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from validation_scores import CLASSES, GRID, Row

from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.head_loss import HeadLoss

FRAMES = 0, 5


@torch.no_grad()
def read(store: FeatureStore, clip: int, frame: int, heads: HeadLoss) -> tuple[torch.Tensor, ...]:
    """Return the scores (1, classes, a, b) and the depth (1, a, b) in m of one frame."""
    features = torch.from_numpy(np.asarray(store.features[clip, frame])).float()[None]
    return heads.read(features, (store.labels.shape[-2], store.labels.shape[-1]))


def main() -> None:
    """Read the arguments and print a row of each file."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of the run')
    parser.add_argument('files', type=Path, nargs='+', help='files of heads')
    arguments = parser.parse_args()
    street = FeatureStore(arguments.run / 'calibration_street')
    videos = FeatureStore(arguments.run / 'calibration_videos')
    for file in arguments.files:
        heads = HeadLoss(file, GRID).eval()
        true, next_frame = Row(), Row()
        for clip in street.clips:
            for frame in FRAMES:
                true.add(read(street, clip, frame, heads),  # type: ignore[arg-type]
                         street.labels[clip, frame][None].astype(int),
                         street.depth[clip, frame][None].astype(float))
        seen = np.zeros(CLASSES)
        for clip in videos.clips:
            for frame in FRAMES:
                scores, depth = read(videos, clip, frame + 1, heads)
                labels = scores.argmax(1).numpy()
                seen += np.bincount(labels.ravel(), minlength=CLASSES)
                next_frame.add(
                    read(videos, clip, frame, heads), labels, depth.numpy())  # type: ignore[arg-type]
        print(f'{file}\n  street, against the truth: {true}\n'
              f'  video, against the next frame: {next_frame}\n'
              f'  video, shares of the classes: {np.round(seen / seen.sum(), 3)}')


if __name__ == '__main__':
    main()
