# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make docs/forecast.png: one moment of a bag, its futures, and what really came.

Example:
    python scripts/make_readme_picture.py deltaworld_ros/sample/highway docs/forecast.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.engine import load_engine
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.evaluate.moments import Moment
from deltaworld_ros.evaluate.pictures import color_confidence, side_by_side
from deltaworld_ros.forecast.view import color_depth, color_labels, without_sky

PANEL = (256, 154)
MOMENTS = 12
NEAR, FAR = 3.0, 60.0


def main() -> None:
    """Read the arguments, forecast the bag and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('bag', type=Path, help='recording to forecast')
    parser.add_argument('picture', type=Path, help='PNG file to write')
    parser.add_argument('--moment', type=int, default=5, help=f'which of {MOMENTS} moments')
    parser.add_argument('--bundle', default='street-lite0', help='bundle name or folder')
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    evaluator = Evaluator(load_engine(bundle), bundle, moments=MOMENTS)
    with BagFrames(arguments.bag) as bag:
        evaluator.run(bag)
    moment = evaluator.moments[arguments.moment]
    Image.fromarray(draw(moment, bundle.manifest.classes)).save(arguments.picture, optimize=True)
    print(f'{arguments.picture}: {moment.seconds:.2f} s into {arguments.bag}')


def draw(moment: Moment, classes: list[SemanticClass]) -> np.ndarray:
    """Set the moment above its futures, in one RGB picture."""
    depth = without_sky(moment.fused_depth, moment.fused_labels, classes)
    above = [
        ('the camera now', moment.image),
        (f'forecast {moment.lead:g} s ahead, fused', color_labels(moment.fused_labels, classes)),
        ('its confidence', color_confidence(moment.confidence)),
        (f'its depth, {NEAR:g} to {FAR:g} m', color_depth(depth, NEAR, FAR)),
        ('what came, as the heads see it', color_labels(moment.true_labels, classes)),
        ('what came', moment.future_image),
    ]
    below = [
        (f'future {number + 1}, weight {weight:.0%}', color_labels(labels, classes))
        for number, (labels, weight) in enumerate(
            zip(moment.labels, moment.weights, strict=True))
    ]
    return np.concatenate([side_by_side(above, *PANEL), side_by_side(below, *PANEL)])


if __name__ == '__main__':
    main()
