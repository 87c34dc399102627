# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a bundle states of its origin: from the recipe, its sources and the bundle before it."""

from collections.abc import Sequence
from typing import TypeVar

from deltaworld_ros.bundle.manifest import Licence, Manifest
from deltaworld_ros.export.licences import weights_licences
from deltaworld_ros.model.protocols import Backbone
from deltaworld_training.runs.recipe import DataSettings, VideoSettings

PAPER = 'https://arxiv.org/abs/2604.04913'
OWN = Licence(name='Apache-2.0', component='tokenizer, predictor and heads',
              source='trained by deltaworld_ros')
UNSTATED = 'not stated'
Item = TypeVar('Item')

# Licences that ask for their text to be handed on with what they cover.
TEXTS = {'MIT': """Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in the Software without
restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""}


def training_data(data: DataSettings, before: Manifest | None) -> list[str]:
    """Return what the networks have seen, that of the bundle they started from first."""
    return _joined([] if before is None else before.training_data, [
        f'{data.street_clips} clips of the synthetic street world',
        *(_video(video) for video in data.used_videos),
        *(f'calibrated on {_video(video)}' for video in data.calibration_videos)])


def licences(backbone: Backbone, data: DataSettings, before: Manifest | None) -> list[Licence]:
    """Return the licences of the weights and of everything that they were trained on."""
    return _joined([] if before is None else before.licences, [
        *weights_licences(backbone), OWN, *(_licence(video) for video in _seen(data))])


def sources(backbone: Backbone, data: DataSettings, before: Manifest | None) -> list[str]:
    """Return where the method, the weights and the videos come from."""
    return _joined([] if before is None else before.sources, [
        PAPER, *(weights.source for weights in weights_licences(backbone)),
        *(place for video in _seen(data) for place in video.places)])


def licence_text(manifest: Manifest, frames_of: str) -> str:
    """
    Return the text of LICENSES.md.

    frames_of: where the golden frames come from, the only training data inside the bundle.
    """
    lines = [
        '# Licences of this bundle', '',
        'The bundle itself (graphs and what was trained): Apache-2.0, the deltaworld_ros authors.',
        '', *(f'- {one.component}: {one.name}; {one.source}' for one in manifest.licences), '',
        'Training data:', '', *(f'- {one}' for one in manifest.training_data), '',
        f'Of it only the golden frames are part of the bundle: {frames_of}.', '']
    for name in dict.fromkeys(one.name for one in manifest.licences):
        if name in TEXTS:
            lines += [f'The {name} licence: {TEXTS[name]}', '']
    return '\n'.join(lines)


def _seen(data: DataSettings) -> list[VideoSettings]:
    return [*data.used_videos, *data.calibration_videos]


def _video(video: VideoSettings) -> str:
    end = 'the end' if video.end is None else f'{video.end:g} s'
    seconds = f', {video.start:g} s to {end}' if video.start or video.end is not None else ''
    return f'{video.file}{seconds} (origin: {video.origin or UNSTATED})'


def _licence(video: VideoSettings) -> Licence:
    notice = f', {video.copyright}' if video.copyright else ''
    return Licence(
        name=video.licence or UNSTATED,
        component=f'training video {video.file}{notice}',
        source=', '.join(video.places) or video.origin or UNSTATED)


def _joined(before: Sequence[Item], new: Sequence[Item]) -> list[Item]:
    """Return both without what is stated twice."""
    return [*before, *(item for number, item in enumerate(new)
                       if item not in before and item not in new[:number])]
