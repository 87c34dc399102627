# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld convert`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

from deltaworld_ros.bundle.whole_file import check_new_folder
from deltaworld_ros.commands.shared import (
    JsonOption,
    check_outputs,
    needing_export,
    no_nan,
    note,
    quiet_exporter,
    read_size,
    write_json,
)
from deltaworld_ros.errors import UserError

if TYPE_CHECKING:
    from deltaworld_ros.export.token_kind import Tokens

_NAMED = re.compile(r'([A-Za-z0-9_-]{1,40})=(.+)')


def convert(
    predictor: Annotated[str, typer.Option(help='Weights of DeltaWorld, or of DINO-world.')],
    backbone: Annotated[str, typer.Option(help='Weights of DINOv3 ViT-S/16, B/16 or L/16.')],
    seg_head: Annotated[list[str], typer.Option(
        help='Weights of a segmentation head, [NAME=]FILE; may be given again.')],
    depth_head: Annotated[str, typer.Option(help='Weights of a depth head.')],
    output: Annotated[Path, typer.Option(help='New folder for the bundle.')],
    rgb_head: Annotated[str | None, typer.Option(
        help='Weights of the RGB head, which paints futures; optional.')] = None,
    tokenizer: Annotated[str | None, typer.Option(
        help='Weights of DeltaTok; DINO-world has none.')] = None,
    tokens: Annotated[str | None, typer.Option(
        help='What the tokens are, which released files do not tell: delta, frame (use_delta='
             'false) or patch (DINO-world).')] = None,
    size: Annotated[str | None, typer.Option(
        help='Image size, N or WIDTHxHEIGHT in multiples of 16 pixels; default 512.')] = None,
    head: Annotated[str | None, typer.Option(
        help='Name of the segmentation head to export; default: the first.')] = None,
    classes: Annotated[list[str] | None, typer.Option(
        help='Classes of a head, [NAME=]LIST: vspw, cityscapes, street, or a YAML file; default: '
             'by their number.')] = None,
    focal_length: Annotated[float | None, typer.Option(
        min=1, max=1e6, callback=no_nan,
        help='Focal length in pixels, at the input width, of the cameras that '
                             "the depth head was trained for; default: KITTI's.")] = None,
    name: Annotated[str | None, typer.Option(
        help="Name of the bundle; default: the folder's.")] = None,
    json_path: JsonOption = None,
) -> None:
    """
    Make a bundle of released or trained checkpoints (needs the extra `export`).

    Weights are files, folders or Hugging Face ids (hf:org/name).

    Example: deltaworld convert --tokenizer deltatok.bin --tokens delta --predictor deltaworld.bin
    --backbone dinov3-vitb16 --seg-head cityscapes=seg.bin --depth-head depth.bin --output vitb
    """
    with needing_export('convert'):
        from deltaworld_ros.export.convert import own_size, read_networks
        from deltaworld_ros.export.converted_bundle import (
            CONTEXT_LENGTH,
            STRIDE,
            converted_manifest,
            write_converted,
        )
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.engine import load_engine
    heads = _heads(seg_head, head)
    check_outputs(json_path)
    check_new_folder(output)
    note('Reading the checkpoints')
    files = {'backbone': backbone, 'tokenizer': tokenizer, 'world': predictor,
             'depth': depth_head, 'painter': rgb_head}
    converted = read_networks(
        {part: source for part, source in files.items() if source is not None},
        heads, _classes(classes or [], list(heads)), read_size(size), _tokens(tokens))
    for text in converted.assumed:
        note(text)
    height, width = own_size(converted.networks)
    manifest = converted_manifest(converted, name or output.resolve().name, focal_length)
    frames = _sample_frames(width, height, STRIDE, CONTEXT_LENGTH)
    note(f'Exporting the graphs for images of {width}x{height}; this takes minutes')
    with quiet_exporter():
        written = write_converted(
            output, converted, manifest, frames, STRIDE * np.arange(CONTEXT_LENGTH))
    load_engine(load_bundle(output), 'onnxruntime', log=note).close()
    write_json(json_path, {
        'bundle': written.name, 'sizes': converted.networks.sizes, 'heads': list(heads),
        'assumed': converted.assumed,
        'sources': written.sources, 'files': written.files})
    note(f'{output}: converted and reproduced by ONNX Runtime')


def _heads(given: list[str], first: str | None) -> dict[str, str]:
    """Return the sources by name, the head to export first."""
    heads: dict[str, str] = {}
    for text in given:
        match = None if Path(text).exists() else _NAMED.fullmatch(text)
        name = match[1] if match else f'head{len(heads) + 1}' if len(given) > 1 else 'head'
        if name in heads:
            raise UserError(f'--seg-head {name}=: given twice')
        heads[name] = match[2] if match else text
    if first is not None:
        if first not in heads:
            raise UserError(f'--head {first!r}: must be one of {", ".join(heads)}')
        heads = {first: heads.pop(first), **heads}
    return heads


def _classes(given: list[str], heads: list[str]) -> dict[str, str]:
    classes = {}
    for text in given:
        match = None if Path(text).exists() else _NAMED.fullmatch(text)
        if match is None and len(heads) > 1:
            raise UserError(f'--classes {text}: say for which head, NAME=LIST, with NAME one of '
                            f'{", ".join(heads)}')
        name = match[1] if match else heads[0]
        if name not in heads:
            raise UserError(f'--classes {text}: there is no head {name!r}, only '
                            f'{", ".join(heads)}')
        classes[name] = match[2] if match else text
    return classes


def _tokens(text: str | None) -> Tokens | None:
    if text not in (None, 'delta', 'frame', 'patch'):
        raise UserError(f'--tokens {text!r}: must be delta, frame or patch')
    return cast('Tokens | None', text)


def _sample_frames(width: int, height: int, stride: float, count: int) -> np.ndarray:
    """Return frames (count, h, w, 3) of the sample recording, as near to the stride as it has."""
    from deltaworld_ros.bags.frames import BagFrames
    from deltaworld_ros.camera.image_fit import ImageFit
    from deltaworld_ros.evaluate.demo import SAMPLE_BAG
    frames: list[np.ndarray] = []
    with BagFrames(SAMPLE_BAG) as bag:
        first = None
        for frame in bag:
            first = frame.stamp if first is None else first
            if frame.stamp - first >= (len(frames) * stride - 0.01) * 1e9:
                fit = ImageFit(frame.image.shape[1], frame.image.shape[0], width, height)
                frames.append(fit.apply(frame.image))
            if len(frames) == count:
                break
    return np.stack(frames)
