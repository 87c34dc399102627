# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The initial weights of the paper (appendix A)."""

from torch import nn

STD = 0.02


def initialise(module: nn.Module) -> None:
    """
    Draw linear and embedding weights from a truncated normal of 0.02; zero the linear biases.

    Norms stay at one and zero, layer scales and zero embeddings as their modules made them.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.trunc_normal_(part.weight, std=STD)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        query = part._parameters.get('query')
        if query is not None:
            nn.init.trunc_normal_(query, std=STD)
