# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The manifest `bundle.yaml`: every size, unit and class that the graphs of a bundle assume."""

from __future__ import annotations

import hashlib
import math
import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from deltaworld_ros.bundle.class_lists import with_role
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_ros.bundle.yaml_file import read_yaml
from deltaworld_ros.errors import UserError

MANIFEST_NAME = 'bundle.yaml'
GRAPHS = ('observe', 'rollout', 'decode')
# Of bundles with a painter: features to pictures.
PAINT_GRAPH = 'paint.onnx'
REQUIRED_FILES = (
    'observe.onnx', 'rollout.onnx', 'decode.onnx', 'golden.npz', 'LICENSES.md')

_FILE_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*')
# Bundles' names become parts of file names.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,99}')
_SHA256 = re.compile(r'[0-9a-f]{64}')


class Licence(BaseModel, extra='forbid', frozen=True):
    """The licence of one thing that the bundle was made from."""

    name: str
    component: str
    source: str


class Manifest(BaseModel, extra='forbid', frozen=True):
    """
    What `bundle.yaml` says: sizes are in pixels, tokens or numbers, times in seconds.

    Depth is in metres for a camera whose focal length is `focal_length` pixels at `image_width`.
    `rotary_frequencies` are in cycles per second (angle = 2 pi time frequency). `queries` says
    whether a sample keeps one noise query through its steps or draws a fresh one each step.
    `temperatures` divide the classes' scores at the present and at each lead, so that confidence
    is the probability of the published class; in bundles without them it is the weight of the
    futures that agree with it. `present_shares` are the parts, one a lead, that the present map
    has in the class probabilities and labels of the leads: what forecasts blur and what keeps its
    place is sharp there. The weights of the futures are the shares of the samples to the
    power of 1 / `weight_temperature`, so that each is how often its future comes closest. `fused`
    says what the fused maps show: the weighted mean of the futures' features, or what the
    weighted mean of their tokens decodes to; with 'tokens' a future is the mean of the samples
    that it stands for, else the most central of them. `motion` says that the predictor can be
    told the robot's motion, past and planned (see `bundle.motion`).
    """

    format: Literal[1]
    name: str
    description: str
    created: str
    backbone: str
    image_width: int = Field(gt=0, le=8192)
    image_height: int = Field(gt=0, le=8192)
    feature_rows: int = Field(gt=0, le=1024)
    feature_columns: int = Field(gt=0, le=1024)
    feature_size: int = Field(gt=0, le=8192)
    # That of DINO-world is a whole frame of features.
    token_size: int = Field(gt=0, le=4_194_304)
    noise_size: int = Field(gt=0, le=8192)
    noise_std: float = Field(0.02, gt=0, le=10)
    queries: Literal['fresh', 'kept']
    rotary_frequencies: list[float]
    stride: float = Field(gt=0, le=60)
    steps: int = Field(gt=0, le=64)
    context_length: int = Field(ge=2, le=64)
    map_width: int = Field(gt=0, le=8192)
    map_height: int = Field(gt=0, le=8192)
    depth_minimum: float = Field(gt=0, le=1e5)
    depth_maximum: float = Field(gt=0, le=1e5)
    focal_length: float = Field(gt=0, le=1e6)
    num_samples: int = Field(256, gt=0, le=65536)
    num_futures: int = Field(6, gt=0, le=256)
    selection_dimensions: int = Field(gt=0)
    temperatures: list[float] = []
    present_shares: list[float] = []
    weight_temperature: float = Field(default=1.0, ge=0.01, le=100)
    fused: Literal['features', 'tokens'] = 'features'
    motion: bool = False
    classes: list[SemanticClass]
    licences: list[Licence]
    sources: list[str]
    training_data: list[str]
    files: dict[str, str] = {}

    @property
    def leads(self) -> tuple[float, ...]:
        """Return the leads of the forecasts in seconds, one a step."""
        return tuple(round(self.stride * step, 9) for step in range(1, self.steps + 1))

    @property
    def num_patches(self) -> int:
        """Return the number of feature vectors of one frame."""
        return self.feature_rows * self.feature_columns


def read_manifest(path: Path) -> Manifest:
    """Read and check the manifest file at `path`; a `UserError` names what is wrong in it."""
    if not os.path.lexists(path):
        raise UserError(f'{path}: no such file; a bundle is a folder that holds it')
    data = read_yaml(path, inside=True)
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(f'{path}: must hold a mapping of names to values')
    classes = data.get('classes')
    if isinstance(classes, list):
        data = {**data, 'classes': [with_role(entry) for entry in classes]}
    try:
        manifest = Manifest(**data)
    except ValidationError as error:
        raise UserError(f'{path}: {_validation_text(error)}') from None
    problem = inconsistency(manifest) or _files_problem(manifest.files)
    if problem:
        raise UserError(f'{path}: {problem}')
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """
    Write `bundle.yaml` into `folder` with the sha256 of every other file there.

    Return the manifest as written. Raise `UserError` where the values contradict each other or a
    file that every bundle has is missing.
    """
    files = {
        entry.name: sha256_of(entry) for entry in sorted(folder.iterdir())
        if entry.is_file() and entry.name != MANIFEST_NAME and _FILE_NAME.fullmatch(entry.name)}
    written = Manifest(**{**_as_dict(manifest), 'files': files})
    problem = inconsistency(written) or _files_problem(files)
    if problem:
        raise UserError(f'{folder / MANIFEST_NAME}: {problem}')
    data = _as_dict(written)
    for semantic_class in data['classes']:
        semantic_class['color'] = list(semantic_class['color'])
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=99)
    write_whole(folder / MANIFEST_NAME, text)
    return written


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _as_dict(manifest: Manifest) -> dict[str, Any]:
    # pydantic 1.10 (Ubuntu's) has no model_dump; pydantic 2 warns about dict().
    dump = getattr(manifest, 'model_dump', None) or manifest.dict
    result: dict[str, Any] = dump()
    return result


def inconsistency(manifest: Manifest) -> str | None:
    """Return which value is wrong by itself or contradicts another, or None."""
    problem = name_problem(manifest.name)
    if problem:
        return f'name: {problem}'
    if not manifest.rotary_frequencies or not all(
            math.isfinite(value) and value > 0 for value in manifest.rotary_frequencies):
        return 'rotary_frequencies: must be one or more positive finite numbers'
    if manifest.temperatures and not (
            len(manifest.temperatures) == manifest.steps + 1
            and all(0.01 <= value <= 100 for value in manifest.temperatures)):
        return f'temperatures: must be {manifest.steps + 1} numbers in 0.01..100, or none'
    if manifest.present_shares and not (
            len(manifest.present_shares) == manifest.steps
            and all(0 <= value < 1 for value in manifest.present_shares)):
        return f'present_shares: must be {manifest.steps} numbers from 0 to below 1, or none'
    if manifest.present_shares and manifest.fused != 'tokens':
        return "present_shares: must be none but where fused is 'tokens'"
    if manifest.depth_maximum <= manifest.depth_minimum:
        return 'depth_maximum: must be greater than depth_minimum'
    if manifest.selection_dimensions > manifest.token_size:
        return f'selection_dimensions: must be at most token_size ({manifest.token_size})'
    if manifest.num_futures > manifest.num_samples:
        return f'num_futures: must be at most num_samples ({manifest.num_samples})'
    if not 1 <= len(manifest.classes) <= 255:
        return 'classes: must be 1 to 255 classes (255 marks unlabelled pixels)'
    for semantic_class in manifest.classes:
        if not all(0 <= channel <= 255 for channel in semantic_class.color):
            return f'classes: color of {semantic_class.name!r} must be three numbers in 0..255'
    if len({semantic_class.name for semantic_class in manifest.classes}) < len(manifest.classes):
        return 'classes: two classes have the same name'
    return None


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a bundle, or None."""
    if _NAME.fullmatch(name):
        return None
    return (f'{name[:100]!r} is not accepted; must be 1 to 100 letters, digits, dots, underscores '
            'and hyphens, with a letter or digit first')


def _files_problem(files: dict[str, str]) -> str | None:
    for name, digest in files.items():
        if not _FILE_NAME.fullmatch(name) or name == MANIFEST_NAME:
            return f'files: {name!r} is not a plain file name of the bundle folder'
        if not _SHA256.fullmatch(digest):
            return f'files: {name!r} has no sha256 of 64 lower-case hexadecimal digits'
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        return f'files: {", ".join(missing)} missing'
    return None


def _validation_text(error: ValidationError) -> str:
    # Never str(error): it prints the input, which may be huge or many lines.
    problems = [
        f'{".".join(str(part) for part in problem["loc"])}: {problem["msg"]}'
        for problem in error.errors()]
    more = f' (and {len(problems) - 3} more)' if len(problems) > 3 else ''
    return _one_line('; '.join(problems[:3])) + more


def _one_line(value: object) -> str:
    return ' '.join(str(value).split())[:300]
