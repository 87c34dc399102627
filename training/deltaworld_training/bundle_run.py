# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One training run from nothing to a bundle; every step is kept on disk and not done twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from deltaworld_ros.errors import UserError
from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_ros.model.efficientnet import LEVEL_CHANNELS, EfficientNetLite0
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.networks import Networks, build_networks, save_networks
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_training.bundle_contents import bundle_manifest, network_sizes
from deltaworld_training.classes import CLASSES, LICENCE_TEXT
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.data.extractor import FeatureExtractor, export_levels, imagenet_weights
from deltaworld_training.data.feature_store import FeatureStore, Windows, build_store
from deltaworld_training.data.store_data import encode_store
from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.data.video_clips import VideoClips
from deltaworld_training.recipe import Recipe
from deltaworld_training.stages.baselines import fit_blur, mean_token
from deltaworld_training.stages.feature_basis import basis_matrix, fit_feature_basis, sample_levels
from deltaworld_training.stages.heads import HeadsStage, class_weights
from deltaworld_training.stages.linear_codes import fit_codes
from deltaworld_training.stages.predictor import PredictorStage
from deltaworld_training.stages.stage import Stage
from deltaworld_training.stages.tokenizer import TokenizerStage
from deltaworld_training.street.world import TRAIN_SEEDS

# Of a batch, the share of windows that the street world gives; the videos give the others.
STREET_SHARE = 0.7
BASIS_CLIPS = 120
CODE_FRAMES = 8000
BLUR_WINDOWS = 2000
STREET: dict[str, Any] = {'schedule': 'cosine', 'betas': (0.9, 0.95)}


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
        self.sizes = network_sizes(self.recipe)
        networks = build_networks(self.sizes)
        self.fit_backbone(networks.backbone)
        stores = self.stores(networks.backbone)
        self.train_tokenizer(networks.tokenizer, stores)
        encoded = [encode_store(networks.tokenizer, store) for store in stores]
        self.train_predictor(networks.world, encoded)
        self.train_heads(networks.segmentation, networks.depth, stores[0])
        return self.export(networks, stores, encoded)

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

    def fit_backbone(self, backbone: EfficientNetLite0) -> None:
        """Load the backbone's ImageNet weights and fit its feature basis."""
        path = self.folder / 'backbone.safetensors'
        if path.exists():
            backbone.load_state_dict(load_file(path))
            return
        self.console.print('Fitting the feature basis')
        backbone.load_imagenet(imagenet_weights())
        export_levels(backbone, self.folder / 'levels.onnx', self.size)
        blank = FeatureExtractor(
            self.folder / 'levels.onnx', self.recipe.grid, np.eye(LEVEL_CHANNELS), np.zeros(1))
        kept = fit_feature_basis(backbone, sample_levels(self.sources(), BASIS_CLIPS, blank))
        self.console.print(f'The features keep {kept:.1%} of the variance of the levels')
        save_file(backbone.state_dict(), path)

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

    def train_tokenizer(self, tokenizer: CompactDeltaTok, stores: list[FeatureStore]) -> None:
        """Fit the tokenizer's linear codes and train the rest of it."""
        s = self.recipe.tokenizer

        def prepare() -> None:
            fit_codes(stage.tokenizer, stores, CODE_FRAMES, self.recipe.seed)
        windows = [Windows({'features': store.features}, store.clips, s.window)
                   for store in stores]
        stage = TokenizerStage(
            self.sizes['tokenizer'], 'relative', 'decoded', initialisation='torch', rate=s.rate,
            weight_decay=s.weight_decay, warm_up=s.warm_up, **STREET)
        self._train('tokenizer', tokenizer, stage, self._mix(windows, s.batch, s.steps), s.steps,
                    prepare)

    def train_predictor(self, world: DeltaWorld, encoded: list[dict[str, np.ndarray]]) -> None:
        """Train the predictor on the tokens of all stores."""
        s, forecast = self.recipe.predictor, self.recipe.forecast
        windows = [
            Windows(arrays, np.arange(len(arrays['times'])),
                    forecast.context_length + forecast.steps)
            for arrays in encoded
        ]
        stage = PredictorStage(
            self.sizes['world'], objective='rollout', candidates=s.candidates, queries='kept',
            loss='mse', context=forecast.context_length, token_noise=s.token_noise,
            initialisation='torch', rate=s.rate, weight_decay=s.weight_decay, warm_up=s.warm_up,
            **STREET)
        self._train('predictor', world, stage, self._mix(windows, s.batch, s.steps), s.steps)

    def train_heads(
        self, segmentation: SegmentationHead, depth: DepthHead, store: FeatureStore,
    ) -> None:
        """Train both heads on the labelled store."""
        s = self.recipe.heads
        windows: Dataset = Windows({
            'features': store.features, 'labels': store.labels, 'depth': store.depth,
        }, store.clips, 1)
        stage = HeadsStage(
            self.recipe.grid, self.sizes['segmentation'], self.sizes['depth'], 'scale_free',
            rate=s.rate, weight_decay=1e-3, warm_up=50, **STREET)
        stage.class_weights.copy_(class_weights(store, len(CLASSES), 0.25))
        both = nn.ModuleDict({'segmentation': segmentation, 'depth': depth})
        self._train('heads', both, stage, self._mix([windows], s.batch, s.steps), s.steps)

    def export(
        self, networks: Networks, stores: list[FeatureStore],
        encoded: list[dict[str, np.ndarray]],
    ) -> Path:
        """Write the bundle."""
        recipe, forecast = self.recipe, self.recipe.forecast
        save_networks(networks, self.folder / 'networks.safetensors')
        blur = fit_blur(
            stores, recipe.grid, forecast.context_length, forecast.steps, BLUR_WINDOWS,
            recipe.seed)
        clip = self.sources()[-1].clip(0)
        folder = self.folder / recipe.name
        export_bundle(
            folder, bundle_manifest(recipe), networks, clip.frames[:forecast.context_length],
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
        self, name: str, model: nn.Module, stage: Stage, loader: DataLoader,
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
            state = stage.learned(stage.state_dict())
            if name != 'heads':
                state = {k.partition('.')[2]: v for k, v in state.items()}
            save_file({k: v.contiguous() for k, v in state.items()}, path)
        model.load_state_dict(load_file(path))
        model.eval()
