# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Distil a tokenizer's decoder into one of fewer layers; tokens stay what they are."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_training.stages.parts import Sizes, frozen, load_part
from deltaworld_training.stages.stage import Stage


class DecoderStage(Stage):
    """
    Learn to decode as a teacher does, with fewer layers.

    Batches hold windows of two or more frames. Both decode the teacher's tokens of true pairs one
    after the other, each on its own last frame, as in a rollout. Encoder and codes are the
    teacher's, so a predictor of its tokens goes with the result.
    """

    def __init__(
        self, teacher: Path, tokenizer: Sizes, true_share: float = 0.3, **options: Any,
    ):
        """
        Take the teacher's file and the sizes of the result, which differ in `decoder_layers`.

        true_share: of the loss, what compares with the true features instead of the teacher's.
        """
        super().__init__(**options)
        self.teacher = cast(CompactDeltaTok, frozen(load_part(teacher, 'tokenizer')[0]))
        self.true_share = true_share
        self.tokenizer = cast(CompactDeltaTok, self.learn('tokenizer', tokenizer, 'torch'))
        if self.initial is None:
            take_over(self.teacher, self.tokenizer)
        for name, parameter in self.tokenizer.named_parameters():
            parameter.requires_grad_(name.startswith('decoder_'))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Decode windows of frames (B, F, h, w, 3) or features (B, F, N, D)."""
        features = self.features(batch)
        frames = features.shape[1]
        with torch.no_grad():
            tokens = self.teacher.encode(
                features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1),
            ).unflatten(0, (-1, frames - 1))
            taught = decode_all(self.teacher, tokens, features[:, 0])
        decoded = decode_all(self.tokenizer, tokens, features[:, 0])
        true = features[:, 1:]
        copy = (features[:, :1] - true).square().mean((2, 3))
        # Far leads and lively clips must not outweigh the rest.
        from_teacher = ((decoded - taught).square().mean((2, 3)) / (copy + 0.1)).mean()
        from_true = ((decoded - true).square().mean((2, 3)) / (copy + 0.1)).mean()
        loss = (1.0 - self.true_share) * from_teacher + self.true_share * from_true
        self.log_dict({'loss': loss, 'teacher': from_teacher, 'true': from_true}, prog_bar=True)
        return loss


def take_over(teacher: CompactDeltaTok, student: CompactDeltaTok) -> None:
    """Copy every weight that both have; of the decoder's blocks, some at even distances."""
    kept, given = len(student.decoder_blocks), len(teacher.decoder_blocks)
    if kept > given:
        raise UserError(f'tokenizer.decoder_layers {kept}: the teacher has {given}')
    state = {name: value for name, value in teacher.state_dict().items()
             if not name.startswith('decoder_blocks.')}
    for place in range(kept):
        # The last block of the teacher is always kept: the output reads what it writes.
        source = (place + 1) * given // kept - 1
        state |= {f'decoder_blocks.{place}.{name}': value
                  for name, value in teacher.decoder_blocks[source].state_dict().items()}
    try:
        student.load_state_dict(state)
    except RuntimeError as error:
        raise UserError('tokenizer: may differ from the teacher in decoder_layers only: '
                        f'{" ".join(str(error).split())[:200]}') from None


def decode_all(tokenizer: CompactDeltaTok, tokens: Tensor, start: Tensor) -> Tensor:
    """Decode tokens (B, S, Dz) one after the other on features (B, N, D): (B, S, N, D)."""
    current, decoded = start, []
    for step in range(tokens.shape[1]):
        current = tokenizer.decode(tokens[:, step], current).float()
        decoded.append(current)
    return torch.stack(decoded, dim=1)
