# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tune a bundle on the user's own bags, without labels, and write it as a new bundle."""

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from deltaworld_ros.bundle.load import Bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, load_networks, save_networks
from deltaworld_training.data.clip import Clip, ClipSource
from deltaworld_training.data.crops import RandomResizedCrop
from deltaworld_training.data.description import fingerprint, keep_description
from deltaworld_training.data.extractor import feature_extractor
from deltaworld_training.data.feature_store import FeatureStore, build_store
from deltaworld_training.data.photometric import apply_look, sample_look
from deltaworld_training.data.recordings import Recording
from deltaworld_training.data.sampled_clips import SampledClips
from deltaworld_training.data.sampling import FixedStride
from deltaworld_training.runs.bundle import load_trained
from deltaworld_training.runs.recipe import Recipe
from deltaworld_training.runs.stage import run_stage
from deltaworld_training.stages.baselines import fit_blur, mean_token

BLUR_CLIPS = 500
# A camera sees the world as it is: cuts and aspects vary little.
CROP = RandomResizedCrop(scale=(0.7, 1.0), aspect=(0.95, 1.05), mirror=0.5)


class RecolouredClips:
    """The clips of a source, half of them with another look of camera and sensor."""

    def __init__(self, source: ClipSource, seed: int):
        """Take the source."""
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.source)

    def clip(self, index: int) -> Clip:
        """Return one clip, recoloured alike in all its frames."""
        clip = self.source.clip(index)
        generator = np.random.default_rng((self.seed, index, 1))
        if generator.random() < 0.5:
            return clip
        look = sample_look(generator)
        frames = np.stack([apply_look(frame, look, generator) for frame in clip.frames])
        return Clip(frames, clip.times)


@dataclass
class FineTuning:
    """A run in a folder: features of the bags, both networks together, export."""

    bundle: Bundle
    networks: Path | None
    recordings: Sequence[Recording]
    recipe: Recipe
    folder: Path
    minutes: float
    clips: int
    mixed: Path | None
    workers: int
    fit: str = 'crop'
    console: Console = field(
        default_factory=lambda: Console(markup=False, emoji=False))

    def run(self) -> Path:
        """Train for the given time and return the new bundle's folder."""
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_description(
            self.folder / 'description.json', self.described(), self.folder / 'start.safetensors')
        start = self.start()
        store = self.store(start)
        stores = [self.folder / 'bag', *([self.mixed] if self.mixed else [])]
        left = max(10.0, 60.0 * self.minutes - (time.monotonic() - began))
        files = [self.folder / 'start.safetensors']
        m = self.bundle.manifest
        self.console.print(f'Training for {left / 60.0:.1f} minutes')
        files.append(run_stage(self.recipe, 'joint', self.folder, [
            f'--trainer.max_time={duration(left)}',
            f'--data.folders={[str(path) for path in stores]}',
            f'--model.context={m.context_length}',
            f'--model.queries={m.queries}',
            *(['--data.motion=true'] if m.motion else []),
            f'--data.frames={m.context_length + m.steps}']))
        networks = load_trained(start.sizes, files)
        save_networks(networks, self.folder / 'networks.safetensors')
        return self.export(networks, store)

    def described(self) -> dict[str, Any]:
        """Return what decides the result: a folder is never used for another."""
        return {
            **self.clips_described(), 'recipe': self.recipe.model_dump(), 'minutes': self.minutes,
            'mixed': self.mixed and FeatureStore(self.mixed).digest}

    def clips_described(self) -> dict[str, Any]:
        """Return what decides the features of the recordings' clips."""
        return {
            'bundle': self.bundle.manifest.files,
            'networks': self.networks and fingerprint(self.networks),
            'recordings': [
                {**{key: value for key, value in vars(recording).items() if key[0] != '_'},
                 'file': fingerprint(Path(recording.name))}
                for recording in self.recordings],
            'clips': self.clips, 'seed': self.recipe.seed, 'fit': self.fit}

    def start(self) -> Networks:
        """Return the networks to start from, and keep them in a file."""
        networks = (
            load_networks(self.networks) if self.networks else graph_networks(self.bundle))
        save_networks(networks, self.folder / 'start.safetensors')
        return networks

    def source(self) -> RecolouredClips:
        """Return random cuts of the recordings at the bundle's stride."""
        m = self.bundle.manifest
        sampling = FixedStride(m.stride, m.context_length + m.steps)
        return RecolouredClips(SampledClips(
            self.recordings, sampling, replace(CROP, fit=self.fit),
            (m.image_width, m.image_height), self.clips, self.recipe.seed), self.recipe.seed)

    def store(self, networks: Networks) -> FeatureStore:
        """Cache the features of the recordings' clips."""
        m = self.bundle.manifest
        extractor = feature_extractor(
            networks.backbone, self.folder / 'features.onnx', (m.image_width, m.image_height))
        store = build_store(
            self.folder / 'bag', self.source(), m.context_length + m.steps,
            extractor, m.focal_length, self.workers, self.clips_described())
        if self.mixed is not None:
            shape = FeatureStore(self.mixed).features.shape[2:]
            if shape != store.features.shape[2:]:
                raise UserError(f'--mix {self.mixed}: holds features of {shape}, the bundle has '
                                f'{store.features.shape[2:]}')
        return store

    def export(self, networks: Networks, store: FeatureStore) -> Path:
        """Write the bundle beside the run's files."""
        m = self.bundle.manifest
        blur = fit_blur(
            [store], (m.feature_rows, m.feature_columns), m.context_length, m.steps, BLUR_CLIPS,
            self.recipe.seed)
        names = ', '.join(Path(recording.name).name for recording in self.recordings)
        manifest = Manifest(**{
            **vars(m), 'name': f'{m.name}-finetuned', 'files': {},
            'created': datetime.date.today().isoformat(),
            'training_data': [*m.training_data, f'fine-tuned on {names}']})
        frames = self.source().clip(0).frames[:m.context_length]
        folder = self.folder / manifest.name
        export_bundle(
            folder, manifest, networks, frames, m.stride * np.arange(m.context_length),
            {'blur': blur, 'mean_token': mean_token(networks.tokenizer, [store])},
            self.bundle.file('LICENSES.md').read_text(encoding='utf-8'))
        return folder


def duration(seconds: float) -> str:
    """Write a time as Lightning's trainer takes it, days:hours:minutes:seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f'{minutes // 1440:02d}:{minutes // 60 % 24:02d}:{minutes % 60:02d}:{rest:02d}'
