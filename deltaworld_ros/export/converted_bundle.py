# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle of converted checkpoints: manifest, weights, heads and graphs (needs torch)."""

import datetime
import json
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors.torch import save_file

from deltaworld_ros.bundle.class_lists import with_role
from deltaworld_ros.bundle.load import Bundle
from deltaworld_ros.bundle.manifest import Licence, Manifest, name_problem
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.bundle.whole_file import check_new_folder
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoint_parts import load_part
from deltaworld_ros.export.checkpoints import read_checkpoint, read_metadata
from deltaworld_ros.export.convert import Converted, Head, fit_to_size, own_size
from deltaworld_ros.export.licences import weights_licences
from deltaworld_ros.export.painter import PAINTER_NAME, save_painter
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, save_networks
from deltaworld_ros.model.registry import PARTS
from deltaworld_ros.model.rotary import time_frequencies

NETWORKS_NAME = 'networks.safetensors'
# The released models: VSPW's and KITTI's stride, 4 frames seen, 3 forecast.
STRIDE = 0.2
STEPS = 3
CONTEXT_LENGTH = 4
NOISE_STD = 0.02
# KITTI's focal length in pixels. The release cuts its frames to 352 x 1216 and squeezes them to
# 512 x 1024, so that a camera with square pixels fits best with the mean of both directions.
KITTI_FOCAL_LENGTH = 721.5377 * (512 / 352 * 1024 / 1216) ** 0.5
KITTI_INPUT_HEIGHT = 512
# An ONNX file cannot hold 2 GB.
MAX_GRAPH_PARAMETERS = 500_000_000
LICENCE_TEXT = """# Licences of this bundle

The networks were converted from the files that `bundle.yaml` names under `sources`; their
licences stay in force, and whoever passes this bundle on passes them on too.

- A DINOv3 backbone is under the DINOv3 License of Meta
  (https://ai.meta.com/resources/models-and-libraries/dinov3-license/), which asks to be
  accepted before the download and limits some uses.
- The checkpoints of DeltaTok, DeltaWorld and their heads: see the pages they came from
  (https://huggingface.co/Amazon-FAR). Their code is under Apache-2.0
  (https://github.com/amazon-far/deltatok).
- A painter (`paint.onnx`) is the decoder of Representation Autoencoders, whose code is under
  the MIT licence (https://github.com/bytetriper/RAE).
- The frames in `golden.npz`: Udacity CarND-LaneLines (MIT), Copyright (c) 2016-2018 Udacity, Inc.,
  from the sample recording of deltaworld_ros, whose LICENSES.md holds the licence.
"""


def converted_manifest(
    converted: Converted, name: str, focal_length: float | None = None,
) -> Manifest:
    """
    Describe the networks as a bundle with the strides and samples of the release.

    `focal_length` is in pixels at the graph's width; the default is that of KITTI's frames as the
    release resizes them, which its depth head was trained on.
    """
    problem = name_problem(name)
    if problem:
        raise UserError(f'bundle name {problem}; name it with --name')
    networks = converted.networks
    height, width = own_size(networks)
    backbone, token_size = networks.backbone, networks.tokenizer.token_size
    rows, columns = height // backbone.stride, width // backbone.stride
    # DINO-world's tokens have no leading dimensions, and each future costs as much as its frames.
    patches = converted.tokens == 'patch'
    single = networks.world.learned_query
    licences = [*weights_licences(backbone), Licence(
        name='as published', component='tokenizer, predictor and heads',
        source='https://huggingface.co/Amazon-FAR')]
    head_name, head = next(iter(converted.heads.items()))
    depth = networks.depth
    try:
        return Manifest(
            format=1, name=name,
            description=f'Converted checkpoints: {len(head.classes)} classes ({head_name}) and '
                        'metric depth, 0.2 to 0.6 s ahead.',
            created=datetime.date.today().isoformat(), backbone=backbone.model_name,
            image_width=width, image_height=height, feature_rows=rows, feature_columns=columns,
            feature_size=backbone.feature_size, token_size=token_size,
            noise_size=networks.world.noise_size, noise_std=NOISE_STD, queries='fresh',
            rotary_frequencies=time_frequencies(networks.world.frequencies).tolist(),
            stride=STRIDE, steps=STEPS,
            context_length=CONTEXT_LENGTH, map_width=width // 2, map_height=height // 2,
            depth_minimum=depth.minimum, depth_maximum=depth.maximum,
            focal_length=focal_length or KITTI_FOCAL_LENGTH * height / KITTI_INPUT_HEIGHT,
            num_samples=1 if single else 20 if patches else 256, num_futures=1 if single else 6,
            selection_dimensions=token_size if patches else min(32, token_size),
            classes=head.classes, licences=licences,
            sources=['https://arxiv.org/abs/2604.04913', *converted.sources],
            training_data=['as published with the checkpoints'])
    except ValidationError as error:
        raise UserError(f'bundle {name!r}: {" ".join(str(error).split())[:300]}') from None


def write_converted(
    folder: Path, converted: Converted, manifest: Manifest, frames: np.ndarray,
    stamps: np.ndarray,
) -> Manifest:
    """
    Write the bundle: weights, every segmentation head, and the three graphs in float32.

    Frames (T, h, w, 3) uint8 at stamps (T,) in seconds become its golden arrays. Raise
    `UserError` where the folder cannot be written, or holds anything already.
    """
    parts = converted.networks.parts()
    parameters = sum(
        value.numel() for name in ('backbone', 'tokenizer') for value in parts[name].parameters())
    if parameters > MAX_GRAPH_PARAMETERS:
        raise UserError(f'backbone and tokenizer have {parameters} parameters; a float32 graph '
                        f'holds at most {MAX_GRAPH_PARAMETERS}')
    check_new_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_networks(converted.networks, folder / NETWORKS_NAME)
        for name, head in converted.heads.items():
            _save_head(folder / head_file(name), head)
        if converted.painter is not None:
            save_painter(converted.painter, folder / PAINTER_NAME)
        return export_bundle(
            folder, manifest, converted.networks, frames, stamps, None,
            LICENCE_TEXT, half_weights=False,
            painter=converted.painter)
    except OSError as error:
        raise UserError(f'{folder}: cannot be written: {error.strerror or error}') from None


def bundle_networks(bundle: Bundle, head: str | None = None) -> tuple[
        Networks, list[SemanticClass]]:
    """
    Read a converted bundle's networks back, with another of its heads where one is named.

    Return the networks and the head's classes, for `fit_to_size` and an export anew. Raise
    `UserError` where the bundle has no weights or no such head.
    """
    path = bundle.file(NETWORKS_NAME)
    parts, sizes = {}, {}
    for part in PARTS:
        parts[part], sizes[part] = load_part(read_checkpoint(path, part))
    classes = bundle.manifest.classes
    if head is not None:
        heads = [name for name in bundle.manifest.files if name.startswith('segmentation-')]
        if head_file(head) not in heads:
            known = ', '.join(name[len('segmentation-'):-len('.safetensors')] for name in heads)
            raise UserError(f'{bundle.path}: has no head {head!r}; it has: {known or "none"}')
        path = bundle.file(head_file(head))
        parts['segmentation'], sizes['segmentation'] = load_part(
            read_checkpoint(path, 'segmentation'))
        classes = _head_classes(path)
    networks = Networks(sizes, **parts)  # type: ignore[arg-type]
    fit_to_size(networks, bundle.manifest.image_height, bundle.manifest.image_width)
    return networks, classes


def head_file(name: str) -> str:
    """Return the file of a segmentation head in a bundle."""
    return f'segmentation-{name}.safetensors'


def _save_head(path: Path, head: Head) -> None:
    tensors = {f'segmentation.{name}': value.contiguous()
               for name, value in head.module.state_dict().items()}
    classes = [{'name': one.name, 'color': list(one.color), 'role': one.role}
               for one in head.classes]
    save_file(tensors, path, metadata={
        'sizes': json.dumps({'segmentation': head.sizes}), 'classes': json.dumps(classes)})


def _head_classes(path: Path) -> list[SemanticClass]:
    try:
        return [SemanticClass(**with_role(entry))
                for entry in json.loads(read_metadata(path)['classes'])]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path}: no class list: {" ".join(str(error).split())[:200]}') from None
