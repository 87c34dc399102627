# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train layers`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import MAX_SIDE


def layers(
    backbone: Annotated[str, typer.Option(help='Weights of DINOv3, file or folder.')],
    output: Annotated[Path, typer.Option(help='File of the backbone with its projection.')],
    kind: Annotated[str, typer.Option(
        help='Source of frames: videos, frames, bags, kinetics, vspw, cityscapes or kitti.')],
    path: Annotated[str, typer.Option(help='File or folder of the source.')],
    taps: Annotated[str, typer.Option(help='Layers to join, counted from 0.')] = '2,5,8,11',
    components: Annotated[int, typer.Option(min=1, help='Width of the features.')] = 1152,
    clips: Annotated[int, typer.Option(min=1, help='Clips whose frames are looked at.')] = 200,
    width: Annotated[int, typer.Option(min=32, max=MAX_SIDE)] = 1024,
    height: Annotated[int, typer.Option(min=32, max=MAX_SIDE)] = 512,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """
    Join layers of DINOv3 and fit the PCA that DINO-Foresight takes of them (paper, Table D).

    Example: deltaworld train layers --backbone dinov3-vitb16 --kind cityscapes --path cityscapes
    --output runs/foresight/layers.safetensors
    """
    from deltaworld_ros.errors import UserError
    from deltaworld_training.data.open_source import Drawing, SourceSettings, open_source
    from deltaworld_training.runs.layers import layered_backbone
    try:
        chosen = [int(word) for word in taps.split(',')]
    except ValueError:
        raise UserError(f'--taps {taps!r}: must be numbers with commas, for example 2,5,8,11'
                        ) from None
    source = open_source(
        SourceSettings(kind, path, options={'clips': clips, 'crop': 'centre'}),
        Drawing((width, height), 2, None, seed))
    kept = layered_backbone(backbone, source, chosen, components, output)
    typer.echo(f'Wrote {output}: {100 * kept:.1f} % of the variance is kept')
