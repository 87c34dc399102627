# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the compact tokenizer: chained reconstruction of a window's frames."""

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok, LinearCode
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.optimizer import adamw_with_cosine


def pooled_maps(tokenizer: CompactDeltaTok, features: np.ndarray) -> Tensor:
    """Return the 2 x 2 pooled maps of features (B, N, D) as (B, P, D)."""
    return tokenizer.patchify(torch.from_numpy(features).float()).mean(2)


def fit_linear_code(code: LinearCode, maps: Tensor, centred: bool) -> None:
    """
    Fit a linear code by two PCAs, of the channels and of the reduced maps.

    Codes get a mean square of one. Changes are coded around zero, so that no change is the
    zero token; frames around their mean.
    """
    channels = code.channel_basis.shape[1]
    flat = maps.flatten(0, 1).double()
    mean = maps.mean(0) if centred else torch.zeros_like(maps[0])
    flat = (maps - mean).flatten(0, 1).double()
    vectors = torch.linalg.eigh(flat.T @ flat)[1]
    code.channel_basis.copy_(vectors.flip(1)[:, :channels])
    reduced = code.reduce(maps)
    code.mean.copy_(reduced.mean(0) if centred else torch.zeros_like(reduced[0]))
    rest = (reduced - code.mean).double()
    vectors = torch.linalg.eigh(rest.T @ rest)[1]
    code.basis.copy_(vectors.flip(1)[:, :code.basis.shape[1]])
    code.scale.fill_(1.0)
    code.scale.copy_(code.encode(maps).square().mean().rsqrt())


def fit_codes(
    tokenizer: CompactDeltaTok, stores: list[FeatureStore], frames: int, seed: int,
) -> None:
    """Fit both linear codes on random frames and changes, as many from each store."""
    generator = np.random.default_rng(seed)
    now, change = [], []
    for store in stores:
        picked = generator.choice(store.clips, frames // len(stores))
        at = generator.integers(1, store.features.shape[1], len(picked))
        current = pooled_maps(tokenizer, store.features[picked, at])
        now.append(current)
        change.append(current - pooled_maps(tokenizer, store.features[picked, at - 1]))
    fit_linear_code(tokenizer.anchor_code, torch.cat(now), centred=True)
    fit_linear_code(tokenizer.delta_code, torch.cat(change), centred=False)


class TokenizerStage(lightning.LightningModule):
    """
    Minimise the mean squared error of frames decoded one on top of the other.

    Tokens come from the true pairs, as the predictor learns them, while each decoding starts
    from the one before, as in a rollout (paper, appendix D: the drift of repeated decoding).
    """

    def __init__(
        self, tokenizer: CompactDeltaTok, rate: float, weight_decay: float, steps: int,
        warm_up: int,
    ):
        """Take the model and the optimiser's settings."""
        super().__init__()
        self.tokenizer = tokenizer
        self.settings = (rate, weight_decay, steps, warm_up)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Reconstruct windows of features (B, F, N, D)."""
        loss, ratios = chained_error(self.tokenizer, batch['features'].float())
        self.log('loss', loss, prog_bar=True)
        self.log('first', ratios[0], prog_bar=True)
        self.log('last', ratios[-1], prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with the cosine schedule."""
        return adamw_with_cosine(self.tokenizer.parameters(), *self.settings)


def chained_error(tokenizer: CompactDeltaTok, features: Tensor) -> tuple[Tensor, list[Tensor]]:
    """
    Decode a window's frames one on top of the other from the tokens of the true pairs.

    Returns the loss, every step's error relative to the mean change of that step's lead (so
    that far leads and lively clips do not outweigh the rest), and each step's error relative to
    copying the first frame.
    """
    batch, frames = features.shape[:2]
    tokens = tokenizer.encode(
        features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1)).unflatten(
            0, (batch, frames - 1))
    current, losses, ratios = features[:, 0], [], []
    for step in range(1, frames):
        current = tokenizer.decode(tokens[:, step - 1], current)
        error = (current.float() - features[:, step]).square().mean((1, 2))
        copy = (features[:, 0] - features[:, step]).square().mean((1, 2))
        losses.append((error / (copy + 0.1)).mean())
        ratios.append((error.sum() / copy.sum()).detach())
    return torch.stack(losses).mean(), ratios

