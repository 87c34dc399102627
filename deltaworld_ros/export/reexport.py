# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Export networks anew: in another precision or size, with other leads (needs torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from deltaworld_ros.bundle.arrays import read_arrays
from deltaworld_ros.bundle.load import Bundle, load_bundle
from deltaworld_ros.bundle.manifest import Manifest, inconsistency
from deltaworld_ros.bundle.whole_file import check_new_folder
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.convert import fit_to_size, own_size
from deltaworld_ros.export.converted_bundle import NETWORKS_NAME, bundle_networks
from deltaworld_ros.export.painter import PAINTER_NAME, read_painter
from deltaworld_ros.export.precision import Precision
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, load_networks


def find_networks(source: str, described_by: str) -> tuple[Networks, Bundle]:
    """
    Return networks and the bundle that describes them.

    `source` is a bundle that holds its networks, or a file of networks, which the bundle
    `described_by` describes. Raise `UserError` where it is neither.
    """
    path = Path(source)
    if path.is_file():
        return load_networks(path), load_bundle(described_by)
    bundle = load_bundle(source)
    if NETWORKS_NAME not in bundle.manifest.files:
        raise UserError(f'{source}: the bundle has no {NETWORKS_NAME}; name the file of its '
                        'networks instead, and the bundle with --bundle')
    return bundle_networks(bundle)[0], bundle


def export_again(
    networks: Networks, bundle: Bundle, folder: Path, precision: Precision,
    size: tuple[int, int] | None, changes: dict[str, Any], painter_file: Path | None = None,
) -> Manifest:
    """
    Write a bundle of the networks in `precision`, at `size` (height, width) in pixels.

    `painter_file` holds a painter; without it, the bundle's own is kept. `changes` are values of
    the manifest. Golden frames and licences are those of `bundle`. Raise `UserError` where the
    folder is not empty or the networks cannot be of that size.
    """
    check_new_folder(folder)
    old = bundle.manifest
    height, width = size or own_size(networks)
    fit_to_size(networks, height, width)
    values = {name: getattr(old, name) for name in type(old).__annotations__}
    stride = networks.backbone.stride
    if (height, width) != (old.image_height, old.image_width):
        values |= {
            'image_height': height, 'image_width': width, 'feature_rows': height // stride,
            'feature_columns': width // stride,
            'map_height': max(1, old.map_height * height // old.image_height),
            'map_width': max(1, old.map_width * width // old.image_width),
            # As where frames of another size are cut from the same camera's.
            'focal_length': old.focal_length * max(
                width / old.image_width, height / old.image_height)}
    values |= {'name': f'{old.name}-{precision}', **changes}
    # Fitted at the old leads; between them they change little, and the last one holds beyond.
    leads = values['stride'] * np.arange(values['steps'] + 1)
    fitted = old.stride * np.arange(old.steps + 1)
    if old.temperatures:
        values['temperatures'] = np.interp(leads, fitted, old.temperatures).tolist()
    if old.present_shares:
        values['present_shares'] = np.interp(
            leads[1:], fitted[1:], old.present_shares).tolist()
    try:
        manifest = Manifest(**values)
    except ValidationError as error:
        raise UserError(f'{bundle.path}: {" ".join(str(error).split())[:300]}') from None
    # Told before the export, which takes minutes.
    problem = inconsistency(manifest)
    if problem:
        raise UserError(f'{folder}: {problem}')
    golden = read_arrays(bundle.read('golden.npz'), 'golden.npz', ['frames', 'stamps'])
    stamps = golden['stamps']
    frames = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
                       for frame in golden['frames']])
    licences = bundle.read('LICENSES.md').decode('utf-8')
    if painter_file is None and PAINTER_NAME in old.files:
        painter_file = bundle.file(PAINTER_NAME)
    painter = None if painter_file is None else read_painter(painter_file, networks)
    return export_bundle(
        folder, manifest, networks, frames, stamps, None, licences, half_weights=False,
        precision=precision, painter=painter)
