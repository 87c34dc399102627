# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The initial weights of the paper (appendix A)."""

from torch import nn

from deltaworld_ros.model.delta_tokenizer import DeltaTok

STD = 0.02


def initialise(module: nn.Module) -> None:
    """
    Draw linear and embedding weights from a truncated normal of 0.02; zero the linear biases.

    Norms stay at one and zero, layer scales as their modules made them. A frame tokenizer's
    decoder starts from zero patches (section 3.3).
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.trunc_normal_(part.weight, std=STD)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, DeltaTok) and part.frame_tokens:
            nn.init.zeros_(part.xy_embed.weight[0])
