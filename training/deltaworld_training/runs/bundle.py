# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One training run from nothing to a bundle; every step is kept on disk and not done twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from rich.console import Console

from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.bundle.manifest import Manifest, sha256_of
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, build_networks, save_networks
from deltaworld_ros.model.protocols import Backbone
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.data.description import check_description
from deltaworld_training.data.extractor import FeatureExtractor, feature_extractor
from deltaworld_training.data.feature_store import FeatureStore, build_store
from deltaworld_training.runs.bundle_manifest import bundle_manifest, network_sizes
from deltaworld_training.runs.provenance import licence_text
from deltaworld_training.runs.recipe import Recipe
from deltaworld_training.runs.recipe_sources import (
    calibration_sources,
    check_videos,
    clip_sources,
    look_sources,
    source_description,
)
from deltaworld_training.runs.stage import run_stage
from deltaworld_training.stages.baselines import fit_blur, mean_token
from deltaworld_training.stages.calibration import fit_confidence
from deltaworld_training.stages.feature_basis import new_backbone
from deltaworld_training.stages.parts import (
    holds,
    load_part,
    load_weights,
    read_part,
    read_recipe,
    save_parts,
)
from deltaworld_training.stages.sampled_windows import sample_windows
from deltaworld_training.stages.weight_calibration import fit_weight_temperature

BASIS_CLIPS = 120
BLUR_WINDOWS = 2000
# With 100, neighbouring shares of the present map change places by chance.
CALIBRATION_WINDOWS = 240


@dataclass
class BundleRun:
    """The steps of a run in a folder, each done once."""

    recipe: Recipe
    folder: Path
    videos: Path | None
    console: Console = field(
        default_factory=lambda: Console(markup=False, emoji=False))

    def __post_init__(self) -> None:
        """Check that the videos of the recipe are there."""
        image = self.recipe.needed('image')
        check_videos(self.recipe, self.videos)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.size = (image.width, image.height)
        lightning.seed_everything(self.recipe.seed, verbose=False)

    def run(self, overrides: Sequence[str] = ()) -> Path:
        """Do every step that is not done yet and return the bundle's folder."""
        stores = self.prepare()
        files = [self.train(name, overrides) for name in self.recipe.stages]
        return self.export(stores, files)

    def prepare(self) -> list[FeatureStore]:
        """
        Fit the backbone's feature basis and cache the features of every source.

        Returned are the stores that every part is trained on, without those of the heads alone.
        """
        extractor = self.extractor(self.fit_backbone())
        frames = self.recipe.needed('data').clip_frames
        clips = clip_sources(self.recipe, self.videos)
        sources = {name: (source, frames) for name, source in clips.items()}
        stores = {
            name: self.store(name, source, frames, extractor)
            for name, (source, frames)
            in (sources | look_sources(self.recipe, self.videos)).items()}
        return [stores[name] for name in clips]

    def store(
        self, name: str, source: ClipSource, frames: int, extractor: FeatureExtractor,
    ) -> FeatureStore:
        """Cache the features of one source."""
        return build_store(
            self.folder / name, source, frames, extractor,
            self.recipe.needed('image').focal_length, self.recipe.workers,
            {'source': source_description(self.recipe, self.videos, name),
             'features': sha256_of(self.folder / 'backbone.safetensors')[:16]})

    def extractor(self, backbone: Backbone) -> FeatureExtractor:
        """Return what computes the features of the backbone."""
        return feature_extractor(backbone, self.folder / 'features.onnx', self.size)

    def train(self, name: str, overrides: Sequence[str] = ()) -> Path:
        """Train one stage on the cached features and return its file."""
        if not (self.folder / f'{name}.safetensors').exists():
            self.console.print(f'Training the stage {name}')
        return run_stage(self.recipe, name, self.folder, overrides)

    def fit_backbone(self) -> Backbone:
        """Return the backbone with its feature basis: the published one, or that of `start`."""
        path = self.folder / 'backbone.safetensors'
        sizes, start = self.recipe.needed('backbone'), self.recipe.start
        backbone: Any
        described = {
            'backbone': sizes, 'start': start and load_bundle(start).manifest.files,
            'clips': [source_description(self.recipe, self.videos, name)
                      for name in ('street', 'videos')]}
        if path.exists():
            check_description(read_recipe(path), described, path)
            known: Any = load_part(path, 'backbone')[0]
            return known
        (self.folder / 'features.onnx').unlink(missing_ok=True)   # of another backbone
        if start is not None:
            networks = graph_networks(load_bundle(start))
            save_networks(networks, self.folder / 'start.safetensors')
            backbone = networks.backbone
        else:
            backbone = self._new_backbone(sizes)
        state = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
        save_parts(path, state, {'backbone': sizes}, described)
        return backbone

    def _new_backbone(self, sizes: dict[str, Any]) -> Backbone:
        self.console.print('Fitting the feature basis')
        backbone, kept = new_backbone(
            sizes, list(clip_sources(self.recipe, self.videos).values()), BASIS_CLIPS)
        if kept is not None:
            self.console.print(f'The features keep {kept:.1%} of the variance of the levels')
        return backbone

    def export(self, stores: list[FeatureStore], files: list[Path]) -> Path:
        """Write networks.safetensors and the bundle from the files of the stages."""
        recipe, forecast = self.recipe, self.recipe.needed('forecast')
        networks = load_trained(network_sizes(recipe), [
            self.folder / 'backbone.safetensors', *files])
        save_networks(networks, self.folder / 'networks.safetensors')
        blur = fit_blur(
            stores, recipe.grid, forecast.context_length, forecast.steps, BLUR_WINDOWS,
            recipe.seed)
        token = mean_token(networks.tokenizer, stores)
        name, source = list(clip_sources(recipe, self.videos).items())[-1]
        clip = source.clip(0)
        manifest = self.calibrate(networks)
        folder = self.folder / recipe.name
        export_bundle(
            folder, manifest, networks, clip.frames[:forecast.context_length],
            forecast.stride * np.arange(forecast.context_length),
            {'blur': blur, 'mean_token': token},
            licence_text(manifest, f'{name}, the first clip'))
        return folder

    def calibrate(self, networks: Networks) -> Manifest:
        """Return the manifest with what is fitted on the recipe's held-out clips."""
        recipe = self.recipe
        manifest = bundle_manifest(recipe)
        sources = calibration_sources(recipe, self.videos)
        if not sources:
            return manifest
        self.console.print('Fitting the weights of the futures and the confidence')
        extractor = self.extractor(networks.backbone)
        frames = recipe.needed('data').clip_frames
        windows = [sample_windows(
            networks, manifest, self.store(name, source, frames, extractor), CALIBRATION_WINDOWS,
            recipe.seed) for name, source in sources.items()]
        manifest = bundle_manifest(
            recipe, weight_temperature=fit_weight_temperature(networks, windows))
        temperatures, shares = fit_confidence(networks, manifest, windows)
        return bundle_manifest(recipe, temperatures, manifest.weight_temperature, shares)


def load_trained(sizes: dict[str, dict], files: list[Path]) -> Networks:
    """Build the networks and load each part from the last of the files that holds it."""
    networks = build_networks(sizes)
    for part, module in networks.parts().items():
        path = next((path for path in reversed(files) if holds(path, part)), None)
        if path is None:
            raise UserError(f'no stage of the recipe trains the {part}')
        load_weights(module, read_part(path, part)[1], path)
    return networks
