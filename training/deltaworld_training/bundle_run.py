# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One training run from nothing to a bundle; every step is kept on disk and not done twice."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, WeightedRandomSampler

from deltaworld_ros.bundle.export import export_bundle
from deltaworld_ros.bundle.graphs import DecodeGraph, ObserveGraph, RolloutGraph
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_ros.model.efficientnet import LEVEL_CHANNELS, EfficientNetLite0
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies
from deltaworld_training.classes import (
    BUNDLE_LICENCES,
    CLASSES,
    DEPTH_MAXIMUM,
    DEPTH_MINIMUM,
    LICENCE_TEXT,
    SOURCES,
)
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.data.extractor import FeatureExtractor, export_levels, load_backbone
from deltaworld_training.data.feature_store import FeatureStore, Windows, build_store
from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.data.video_clips import VideoClips
from deltaworld_training.recipe import Recipe
from deltaworld_training.stages.baselines import fit_blur, mean_token
from deltaworld_training.stages.feature_basis import basis_matrix, fit_feature_basis, sample_levels
from deltaworld_training.stages.heads import HeadsStage
from deltaworld_training.stages.predictor import NOISE_STD, PredictorStage, encode_store
from deltaworld_training.stages.tokenizer import TokenizerStage, fit_codes
from deltaworld_training.street.world import TRAIN_SEEDS

# Of a batch, the share of windows that the street world gives; the videos give the others.
STREET_SHARE = 0.7
BASIS_CLIPS = 120
CODE_FRAMES = 8000
BLUR_WINDOWS = 2000


@dataclass
class BundleRun:
    """The steps of a run in a folder, each done once."""

    recipe: Recipe
    folder: Path
    videos: Path | None
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        """Check that the videos of the recipe are there."""
        names = self.recipe.data.videos if self.recipe.data.video_clips else []
        if names and self.videos is None:
            raise UserError(f'--videos: give the folder that holds {", ".join(names)}')
        self.video_paths = [Path(self.videos or '.') / name for name in names]
        missing = [str(path) for path in self.video_paths if not path.is_file()]
        if missing:
            raise UserError(f'--videos: not found: {", ".join(missing)}')
        self.folder.mkdir(parents=True, exist_ok=True)
        self.size = (self.recipe.image.width, self.recipe.image.height)
        lightning.seed_everything(self.recipe.seed, verbose=False)

    def run(self) -> Path:
        """Do every step that is not done yet and return the bundle's folder."""
        backbone = self.backbone()
        stores = self.stores(backbone)
        tokenizer = self.tokenizer(stores)
        encoded = [encode_store(tokenizer, store) for store in stores]
        world = self.predictor(encoded)
        segmentation, depth = self.heads(stores[0])
        return self.export(stores, encoded, backbone, tokenizer, world, segmentation, depth)

    def sources(self) -> list[ClipSource]:
        """Return the street world and, where the recipe asks for them, the videos."""
        data, stride = self.recipe.data, self.recipe.forecast.stride
        sources: list[ClipSource] = [StreetClips(
            TRAIN_SEEDS.start, data.street_clips, data.clip_frames, stride, self.size)]
        if self.video_paths:
            sources.append(VideoClips(
                self.video_paths, data.video_clips, data.clip_frames, stride, self.size,
                self.recipe.seed))
        return sources

    def backbone(self) -> EfficientNetLite0:
        """Return the backbone with its fitted feature basis."""
        path = self.folder / 'backbone.safetensors'
        backbone = load_backbone(self.recipe.tokenizer.feature_size)
        if path.exists():
            backbone.load_state_dict(load_file(path))
            return backbone
        self.console.print('Fitting the feature basis')
        export_levels(backbone, self.folder / 'levels.onnx', self.size)
        blank = FeatureExtractor(
            self.folder / 'levels.onnx', self.recipe.grid, np.eye(LEVEL_CHANNELS), np.zeros(1))
        kept = fit_feature_basis(backbone, sample_levels(self.sources(), BASIS_CLIPS, blank))
        self.console.print(f'The features keep {kept:.1%} of the variance of the levels')
        save_file(backbone.state_dict(), path)
        return backbone

    def stores(self, backbone: EfficientNetLite0) -> list[FeatureStore]:
        """Return the cached features of every source."""
        matrix, offset = basis_matrix(backbone)
        extractor = FeatureExtractor(
            self.folder / 'levels.onnx', self.recipe.grid, matrix, offset)
        return [
            build_store(
                self.folder / name, source, self.recipe.data.clip_frames, extractor,
                self.recipe.image.focal_length, self.recipe.workers)
            for name, source in zip(('street', 'videos'), self.sources(), strict=False)
        ]

    def tokenizer(self, stores: list[FeatureStore]) -> CompactDeltaTok:
        """Return the trained tokenizer."""
        s = self.recipe.tokenizer
        tokenizer = CompactDeltaTok(
            s.feature_size, self.recipe.grid, s.token_size, s.size, s.heads, s.encoder_layers,
            s.decoder_layers, s.mlp_size, s.code_channels)

        def prepare() -> None:
            fit_codes(tokenizer, stores, CODE_FRAMES, self.recipe.seed)
        windows = [Windows({'features': store.features}, store.clips, s.window)
                   for store in stores]
        stage = TokenizerStage(tokenizer, s.rate, s.weight_decay, s.steps, s.warm_up)
        self._train('tokenizer', tokenizer, stage, self._mix(windows, s.batch, s.steps), s.steps,
                    prepare)
        return tokenizer.eval()

    def predictor(self, encoded: list[dict[str, np.ndarray]]) -> DeltaWorld:
        """Return the trained predictor."""
        s, forecast = self.recipe.predictor, self.recipe.forecast
        world = DeltaWorld(
            s.size, s.heads, s.layers, s.mlp_size, self.recipe.tokenizer.token_size,
            layer_scale=0.1)
        windows = [
            Windows(arrays, np.arange(len(arrays['times'])),
                    forecast.context_length + forecast.steps)
            for arrays in encoded
        ]
        stage = PredictorStage(
            world, forecast.context_length, s.candidates, s.rate, s.weight_decay, s.steps,
            s.warm_up, s.token_noise)
        self._train('predictor', world, stage, self._mix(windows, s.batch, s.steps), s.steps)
        return world.eval()

    def heads(self, store: FeatureStore) -> tuple[SegmentationHead, DepthHead]:
        """Return the heads, trained on the labelled store."""
        s, size = self.recipe.heads, self.recipe.tokenizer.feature_size
        segmentation = SegmentationHead(size, len(CLASSES))
        depth = DepthHead(size, minimum=DEPTH_MINIMUM, maximum=DEPTH_MAXIMUM)
        windows: Dataset = Windows({
            'features': store.features, 'labels': store.labels, 'depth': store.depth,
        }, store.clips, 1)
        labels = store.labels[store.clips[:500], 0]
        counts = np.bincount(labels.ravel(), minlength=len(CLASSES))[:len(CLASSES)]
        weights = (counts.sum() / (counts + 1.0)) ** 0.25
        stage = HeadsStage(
            segmentation, depth, self.recipe.grid, s.rate, s.steps,
            torch.tensor(weights / weights.mean(), dtype=torch.float32))
        both = nn.ModuleDict({'segmentation': segmentation, 'depth': depth})
        self._train('heads', both, stage, self._mix([windows], s.batch, s.steps), s.steps)
        return segmentation.eval(), depth.eval()

    def export(
        self, stores: list[FeatureStore], encoded: list[dict[str, np.ndarray]],
        backbone: EfficientNetLite0, tokenizer: CompactDeltaTok, world: DeltaWorld,
        segmentation: SegmentationHead, depth: DepthHead,
    ) -> Path:
        """Write the bundle."""
        recipe, forecast = self.recipe, self.recipe.forecast
        rows, columns = recipe.grid
        map_size = (recipe.image.height // 2, recipe.image.width // 2)
        manifest = Manifest(
            format=1, name=recipe.name,
            description='Street scenes: 10 classes and metric depth, 0.2 to 0.6 s ahead.',
            created=datetime.date.today().isoformat(), backbone='efficientnet_lite0',
            image_width=recipe.image.width, image_height=recipe.image.height,
            feature_rows=rows, feature_columns=columns,
            feature_size=recipe.tokenizer.feature_size, token_size=recipe.tokenizer.token_size,
            noise_size=recipe.predictor.size, noise_std=NOISE_STD, queries='kept',
            rotary_frequencies=time_frequencies().tolist(), stride=forecast.stride,
            steps=forecast.steps, context_length=forecast.context_length,
            map_width=map_size[1], map_height=map_size[0], depth_minimum=DEPTH_MINIMUM,
            depth_maximum=DEPTH_MAXIMUM, focal_length=recipe.image.focal_length,
            num_samples=forecast.samples, num_futures=forecast.futures,
            selection_dimensions=forecast.selection_dimensions, classes=CLASSES,
            licences=BUNDLE_LICENCES, sources=SOURCES,
            training_data=[
                f'{recipe.data.street_clips} clips of the synthetic street world',
                *(f'{path.name} (Udacity CarND-LaneLines)' for path in self.video_paths)],
        )
        blur = fit_blur(
            stores, recipe.grid, forecast.context_length, forecast.steps, BLUR_WINDOWS,
            recipe.seed)
        clip = self.sources()[-1].clip(0)
        folder = self.folder / recipe.name
        export_bundle(
            folder, manifest, ObserveGraph(backbone, tokenizer), RolloutGraph(world),
            DecodeGraph(tokenizer, segmentation, depth, recipe.grid, map_size),
            clip.frames[:forecast.context_length],
            forecast.stride * np.arange(forecast.context_length),
            {'blur': blur, 'mean_token': mean_token(encoded)}, LICENCE_TEXT)
        return folder

    def _mix(self, windows: list, batch: int, steps: int) -> DataLoader:
        """Load random batches for the given steps, the first source at its share."""
        shares = [STREET_SHARE, 1.0 - STREET_SHARE] if len(windows) > 1 else [1.0]
        weights = np.concatenate([
            np.full(len(part), share / len(part))
            for part, share in zip(windows, shares, strict=True)])
        sampler = WeightedRandomSampler(
            weights.tolist(), batch * steps, generator=torch.Generator().manual_seed(
                self.recipe.seed))
        return DataLoader(ConcatDataset(windows), batch_size=batch, sampler=sampler)

    def _train(
        self, name: str, model: nn.Module, stage: lightning.LightningModule, loader: DataLoader,
        steps: int, prepare: Callable[[], None] | None = None,
    ) -> None:
        """Load the model's finished weights, or train it from where it stopped and save them."""
        path = self.folder / f'{name}.safetensors'
        if not path.exists():
            self.console.print(f'Training the {name}')
            checkpoints = self.folder / 'checkpoints' / name
            last = checkpoints / 'last.ckpt'
            if prepare is not None and not last.exists():
                with torch.no_grad():
                    prepare()
            accelerated = torch.cuda.is_available()
            trainer = lightning.Trainer(
                max_steps=steps, accelerator='gpu' if accelerated else 'cpu', devices=1,
                precision='bf16-mixed', gradient_clip_val=1.0, log_every_n_steps=50,
                logger=CSVLogger(self.folder / 'logs', name), enable_model_summary=False,
                callbacks=[
                    RichProgressBar(refresh_rate=10),
                    ModelCheckpoint(checkpoints, save_last=True, every_n_train_steps=500,
                                    save_top_k=0),
                ])
            trainer.fit(stage, loader, ckpt_path=last if last.exists() else None)
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
        model.load_state_dict(load_file(path))
