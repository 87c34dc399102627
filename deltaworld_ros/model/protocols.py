# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What training and export ask of a backbone, a tokenizer and a world, whatever is inside.

A new network is one file in `model/`: a class with these attributes under `@register`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class PublishedWeights:
    """What a bundle states of the published weights of its backbone."""

    name: str
    licence: str
    source: str


class Backbone(Protocol):
    """Image to features; frozen wherever the other networks learn."""

    # Image pixels a cell of the features, in rows and in columns.
    stride: int
    feature_size: int
    # What training starts from, none where it starts from nothing.
    published: PublishedWeights | None

    @property
    def model_name(self) -> str:
        """Return the name in a bundle's manifest."""

    def load_published(self) -> None:
        """Load the published weights, if any; raise `UserError` where they cannot be had."""

    def __call__(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W) to features (B, N, D)."""


@runtime_checkable
class Projected(Protocol):
    """A backbone whose features are a PCA of its levels, which training fits."""

    level_mean: Tensor
    level_std: Tensor
    projection: Tensor

    def levels(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W) to levels (B, N, L)."""


class Tokenizer(Protocol):
    """The change between two frames' features on a fixed grid as one token."""

    grid: tuple[int, int]

    @property
    def feature_size(self) -> int:
        """Return the number of values of a feature, D."""

    @property
    def token_size(self) -> int:
        """Return the number of values of a token, Dz."""

    def encode(self, previous: Tensor, current: Tensor) -> Tensor:
        """Encode features (B, N, D) of two frames as delta tokens (B, Dz)."""

    def encode_anchor(self, current: Tensor) -> Tensor:
        """Encode features (B, N, D) against the black frame as anchor tokens (B, Dz)."""

    def encode_with_anchor(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features (B, N, D) as delta tokens and as anchor tokens, each (B, Dz)."""

    def decode(self, token: Tensor, previous: Tensor) -> Tensor:
        """Decode tokens (B, Dz) on previous features to features (B, N, D)."""


class World(Protocol):
    """The predictor of tokens."""

    # The number of time frequencies of its rotary tables, R.
    frequencies: int
    noise_size: int
    # One learned query in place of noise: a single future.
    learned_query: bool

    @property
    def token_size(self) -> int:
        """Return the number of values of a token, Dz."""

    def rollout(self, tokens: Tensor, table: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """Roll out tokens (B, T, Dz), tables (B, T + S, R), noise (B, M, S, W): (B, M, S, Dz)."""


@runtime_checkable
class MotionWorld(World, Protocol):
    """A world that can be told the robot's motion, past and planned, if `motion` says so."""

    motion: bool

    def rollout(
        self, tokens: Tensor, table: tuple[Tensor, Tensor], noise: Tensor,
        motion: Tensor | None = None,
    ) -> Tensor:
        """Roll out as any world does, with the motion (B, T + S, 3) of each step."""


def takes_motion(world: World) -> bool:
    """Return whether a world can be told the robot's motion."""
    return isinstance(world, MotionWorld) and world.motion


@runtime_checkable
class Regridded(Protocol):
    """A network that works on other grids than the one that it was built for."""

    def set_grid(self, grid: tuple[int, int], black: Tensor) -> None:
        """Set the grid (rows, columns); `black` (1, N, D) are the black frame's features on it."""
