# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The models of the ladder (paper, Table 2, Table C and appendix D)."""

from dataclasses import dataclass
from typing import Literal

Tokens = Literal['spatial', 'frame', 'delta', 'own', 'compact']


@dataclass(frozen=True)
class Row:
    """
    One model: what its tokens are, and whether it is discriminative.

    'own' are delta tokens that the tokenizer computes from its own reconstructions; 'compact'
    are those of the compact tokenizer, which is this project's and not the paper's.
    """

    key: str
    title: str
    tokens: Tokens
    learned_query: bool = False


ROWS = (
    Row('dino-world', '(0) DINO-world', 'spatial', learned_query=True),
    Row('best-of-many', '(1) + best-of-many', 'spatial'),
    Row('frame-token', '(2) frame token', 'frame'),
    Row('delta-token', '(3) delta token: DeltaWorld', 'delta'),
    Row('delta-discriminative', '(4) delta token, discriminative', 'delta', learned_query=True),
    Row('own-reconstructions', '(5) DeltaWorld, tokenizer on its own reconstructions', 'own'),
    Row('compact-token', '(6) DeltaWorld, compact tokenizer', 'compact'),
)
DELTAWORLD = ROWS[3]
