# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every training stage shares: frozen features, optimiser, sample numbers, checkpoints."""

from pathlib import Path
from typing import Any, Literal

import lightning
import torch
import torch._dynamo.config
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.networks import build_part
from deltaworld_training.stages.initialisation import initialise
from deltaworld_training.stages.noise import SampleNoise
from deltaworld_training.stages.optimizer import Decay, Schedule, adamw, rate_factor
from deltaworld_training.stages.parts import (
    Sizes,
    frozen,
    holds,
    load_part,
    load_weights,
    read_part,
)

Initialisation = Literal['paper', 'torch']
# Blocks that torch.compile is given one by one: their parents are called by several methods.
BLOCK_LISTS = ('encoder_blocks', 'decoder_blocks', 'blocks', 'layer')
RECOMPILE_LIMIT = 64


class Stage(lightning.LightningModule):
    """
    A training stage: learns some parts, on the features of a frozen backbone.

    `sizes` names the parts that learn; each is the attribute of that name. Nothing random is
    carried from step to step, so that a run that was killed goes on exactly.
    """

    def __init__(
        self, rate: float, weight_decay: float = 0.0, warm_up: int = 0,
        schedule: Schedule = 'constant', betas: tuple[float, float] = (0.9, 0.999),
        decay: Decay = 'all', seed: int = 0, backbone: Path | None = None,
        initial: Path | list[Path] | None = None, compile_blocks: bool = False,
    ):
        """
        Take the optimiser's settings (see `optimizer`) and what the stage starts from.

        backbone: file of the frozen backbone, needed for batches of frames; initial: file or
        files whose weights the learning parts start with; compile_blocks: torch.compile every
        block.
        """
        super().__init__()
        self.strict_loading = False
        self.rate = rate
        self.weight_decay = weight_decay
        self.warm_up = warm_up
        self.schedule = schedule
        self.betas = betas
        self.decay = decay
        self.seed = seed
        self.initial = [initial] if isinstance(initial, Path) else initial or []
        self.compile_blocks = compile_blocks
        self.sizes: dict[str, Sizes] = {}
        self.backbone: Any = frozen(load_part(backbone, 'backbone')[0]) if backbone else None
        self._part = (-1, -1)

    def learn(self, part: str, sizes: Sizes | None, initialisation: Initialisation) -> nn.Module:
        """Build a part that learns from its sizes or from `initial`, alike in every process."""
        state = None
        source = self._source(part)
        if source is not None:
            found, state = read_part(source, part)
            sizes = found if sizes is None else sizes
        if sizes is None:
            raise UserError(f'{part}: give its sizes, or a file to start from')
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = build_part(part, sizes)
            if initialisation == 'paper':
                initialise(module)
        if state is not None and source is not None:
            load_weights(module, state, source)
        self.sizes[part] = sizes
        if self.compile_blocks:
            # Blocks share their code, and each runs with and without gradients and known frames.
            torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
            for name in BLOCK_LISTS:
                for owner in (module, getattr(module, 'predictor', None)):
                    for block in getattr(owner, name, None) or ():
                        block.compile()
        return module.train()

    def _source(self, part: str) -> Path | None:
        """Return the last of the files to start from that holds a part, None without files."""
        if not self.initial:
            return None
        return next((path for path in reversed(self.initial) if holds(path, part)),
                    self.initial[0])

    def features(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the float32 features (B, F, N, D) of a batch of features or of frames."""
        if 'features' in batch:
            return batch['features'].float()
        if self.backbone is None:
            raise UserError('the batches are frames: name the backbone (--model.backbone FILE)')
        frames = batch['frames']
        with torch.no_grad():
            found = self.backbone(frames.flatten(0, 1).permute(0, 3, 1, 2))
        return found.unflatten(0, frames.shape[:2]).float()

    def noise(self, size: int, stream: int = 0) -> SampleNoise:
        """
        Return the random numbers of this batch's samples.

        Sample number n = step * global batch + position; rank r holds a contiguous slice of the
        positions, and each accumulated batch a slice of that.
        """
        trainer = self.trainer
        step, part = trainer.global_step, self._part[1]
        parts = trainer.accumulate_grad_batches
        first = (step * trainer.world_size + trainer.global_rank) * parts + part
        numbers = range(first * size, (first + 1) * size)
        return SampleNoise(self.seed, numbers, self.device, stream)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the rate of this step and count the accumulated batches."""
        step = self.trainer.global_step
        self._part = (step, self._part[1] + 1 if self._part[0] == step else 0)
        factor = rate_factor(self.schedule, step, self.warm_up, self.trainer.max_steps)
        for group in self.trainer.optimizers[0].param_groups:
            group['lr'] = self.rate * factor

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW; its rate is set before each batch."""
        return adamw(self, self.rate, self.weight_decay, self.betas, self.decay)

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm over all shards under FSDP, which Lightning leaves to the module."""
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy) and gradient_clip_val:
            strategy.model.clip_grad_norm_(gradient_clip_val)  # type: ignore[union-attr, operator]
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learning parts only: the frozen ones come from their own files."""
        checkpoint['state_dict'] = self.learned(checkpoint['state_dict'])

    def learned(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the parts that learn, of a state of the whole stage."""
        prefixes = tuple(f'{part}.' for part in self.sizes)
        return {name: value for name, value in state.items() if name.startswith(prefixes)}
