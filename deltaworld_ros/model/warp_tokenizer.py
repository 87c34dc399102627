# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A small delta tokenizer whose decoder moves the previous features, beside the paper's DeltaTok.

It keeps the paper's contract, encode(previous, current) -> one token and decode(token, previous)
-> current, and deviates in four ways for small budgets:

- The decoder warps the previous features by a flow drawn from the token and adds a residual, so
  that a token codes how things move and not how their texture changes.
- The encoder looks for every feature of the current frame near its place in the previous one. It
  joins what it found, how far away that was and the current frame at each patch, instead of both
  frames in one long sequence; patches are 2 x 2 features with learned positions. The motion and
  a few values of every patch go straight into the token.
- The token stands in no sequence: the decoder adds it to every patch, once as a whole and once
  as a few values that it holds for that patch.
- The black frame's features are zero: the anchor token is encode(0, current).

An untrained decoder returns the previous features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.model.blocks import NORM_EPSILON, SelfAttentionBlock
from deltaworld_ros.model.patch_grid import CELLS, PatchGrid
from deltaworld_ros.model.registry import register

# A change of the flow's layers by one moves the features by this many cells.
FLOW_SCALE = 4.0
# Values that a token gets from and gives to each patch.
FIELD = 16
# A feature is looked for at most so many cells away, rows and columns, by values of this number.
REACH = 3, 4
MATCH = 64
# The logarithm of what similarities between -1 and 1 are multiplied with at first.
SHARPNESS = 3.0
FAR = -1e4


@register('tokenizer', 'warp')
class WarpDeltaTok(nn.Module):
    """The warping tokenizer for one fixed grid of features."""

    # What decodes: its parameters' names begin so.
    DECODER = ('decoder_', 'flow_', 'warp_')
    rows_at: Tensor
    columns_at: Tensor
    places: Tensor
    too_far: Tensor

    def __init__(
        self, feature_size: int, grid: tuple[int, int], token_size: int, size: int, heads: int,
        encoder_layers: int, decoder_layers: int, mlp_size: int, layer_scale: float = 0.1,
    ):
        """
        Take the sizes; the grid (rows, columns) must be even both ways.

        The first of the decoder's layers comes before the warp, the others after it.
        """
        super().__init__()
        self.feature_size = feature_size
        self.token_size = token_size
        self.head_size = size // heads
        self.grid = (grid[0], grid[1])
        self.patches = PatchGrid(grid)
        joined = feature_size * CELLS

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                SelfAttentionBlock(size, heads, mlp_size, False, layer_scale)
                for _ in range(count)
            )
        self.z_embed = nn.Parameter(0.02 * torch.randn(1, 1, size))
        self.encoder_places = nn.Parameter(0.02 * torch.randn(self.patches.count, size))
        self.encoder_match = nn.Linear(feature_size, MATCH, bias=False)
        self.encoder_sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.encoder_input = nn.Linear(2 * joined, size)
        self.encoder_motion = nn.Linear(2 * CELLS, size)
        self.encoder_blocks = blocks(encoder_layers)
        self.encoder_norm = nn.LayerNorm(size, NORM_EPSILON)
        self.encoder_output = nn.Linear(size, token_size)
        self.encoder_field = nn.Linear(size, FIELD)
        self.encoder_fields = nn.Linear(self.patches.count * FIELD, token_size)
        self.encoder_motions = nn.Linear(2 * grid[0] * grid[1], token_size)
        self.decoder_places = nn.Parameter(0.02 * torch.randn(self.patches.count, size))
        self.decoder_input = nn.Linear(joined, size)
        self.decoder_token = nn.Linear(token_size, size)
        self.decoder_fields = nn.Linear(token_size, self.patches.count * FIELD)
        self.decoder_field = nn.Linear(FIELD, size)
        self.decoder_blocks = blocks(decoder_layers)
        self.flow_token = nn.Linear(token_size, 2 * self.patches.count)
        self.flow_norm = nn.LayerNorm(size, NORM_EPSILON)
        self.flow_patch = nn.Linear(size, 2 * CELLS)
        self.warp_input = nn.Linear(joined, size)
        self.decoder_norm = nn.LayerNorm(size, NORM_EPSILON)
        self.decoder_output = nn.Linear(size, joined)
        for layer in (self.flow_token, self.flow_patch, self.warp_input, self.decoder_output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer('rows_at', torch.arange(float(grid[0])), persistent=False)
        self.register_buffer('columns_at', torch.arange(float(grid[1])), persistent=False)
        places = torch.cartesian_prod(self.rows_at, self.columns_at)
        away = (places[:, None] - places).abs()
        self.register_buffer('places', places, persistent=False)
        self.register_buffer(
            'too_far', FAR * (away > torch.tensor(REACH)).any(2).float(), persistent=False)

    def match(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """
        Look for the features (B, N, D) of the current frame in the previous one.

        Return what is found at each place, the mean of the previous features near it, weighed
        by their likeness, and the mean way there (B, N, 2) in cells, rows first. The black frame
        has nothing to find: the way is 0 but for the edges.
        """
        wanted = F.normalize(self.encoder_match(current).float(), dim=-1)
        there = F.normalize(self.encoder_match(previous).float(), dim=-1)
        alike = self.encoder_sharpness.exp() * (wanted @ there.transpose(1, 2))
        weights = (alike + self.too_far).softmax(-1)
        return weights @ previous, weights @ self.places - self.places

    def encode(self, previous: Tensor, current: Tensor) -> Tensor:
        """Encode features (B, N, D) of two frames as delta tokens (B, token size)."""
        found, motion = self.match(previous, current)
        pair = torch.cat([self.patches.join(found), self.patches.join(current)], dim=2)
        # What layers add to, places and tokens are float32 where layers are of half type.
        x = self.encoder_input(pair.flatten(2)).float() + self.encoder_places
        x = x + self.encoder_motion(self.patches.join(motion).flatten(2))
        x = torch.cat([self.z_embed.expand(x.shape[0], 1, -1), x], dim=1)
        table = self.patches.table(self.head_size, x.device)
        for block in self.encoder_blocks:
            x = block(x, table)
        x = self.encoder_norm(x)
        fields = self.encoder_fields(self.encoder_field(x[:, 1:]).flatten(1))
        token = self.encoder_output(x[:, 0]).float() + fields.float()
        return token + self.encoder_motions(motion.flatten(1)).float()

    def encode_anchor(self, current: Tensor) -> Tensor:
        """Encode features (B, N, D) against the black frame as anchor tokens (B, token size)."""
        return self.encode(torch.zeros_like(current), current)

    def encode_with_anchor(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features (B, N, D) as delta and as anchor tokens, in one pass of both pairs."""
        before = torch.stack([previous, torch.zeros_like(current)], dim=1)
        tokens = self.encode(
            before.flatten(0, 1), current[:, None].expand_as(before).flatten(0, 1))
        delta, anchor = tokens.unflatten(0, (-1, 2)).unbind(1)
        return delta, anchor

    def warp(self, features: Tensor, flow: Tensor) -> Tensor:
        """
        Sample features (B, N, D) bilinearly at each cell's place plus its flow.

        The flow (B, N, 2) is in cells, rows first; beyond the border the nearest cell is taken.
        One product with the bilinear weights runs on every engine in every precision.
        """
        rows, columns = self.grid
        place = flow.unflatten(1, self.grid)
        row = (place[..., 0] + self.rows_at[:, None]).clamp(0.0, rows - 1.0)
        column = (place[..., 1] + self.columns_at).clamp(0.0, columns - 1.0)
        by_row = (1.0 - (row[..., None] - self.rows_at).abs()).clamp_min(0.0)
        by_column = (1.0 - (column[..., None] - self.columns_at).abs()).clamp_min(0.0)
        weights = by_row[..., :, None] * by_column[..., None, :]
        return weights.reshape(-1, rows * columns, rows * columns) @ features

    def decode(self, token: Tensor, previous: Tensor) -> Tensor:
        """Decode tokens (B, token size) on the previous features (B, N, D)."""
        before = self.patches.join(previous).flatten(2)
        fields = self.decoder_fields(token).unflatten(1, (self.patches.count, FIELD))
        x = self.decoder_input(before).float() + self.decoder_places
        x = x + self.decoder_token(token)[:, None] + self.decoder_field(fields)
        table = self.patches.table(self.head_size, x.device)
        x = self.decoder_blocks[0](x, table)
        flow = self.flow_patch(self.flow_norm(x)).unflatten(2, (CELLS, 2))
        whole = self.flow_token(token).float().unflatten(1, (self.patches.count, 1, 2))
        flow = flow.float() + whole
        warped = self.warp(previous, FLOW_SCALE * self.patches.part(flow))
        x = x + self.warp_input(self.patches.join(warped).flatten(2) - before)
        for block in list(self.decoder_blocks)[1:]:
            x = block(x, table)
        residual = self.decoder_output(self.decoder_norm(x)).float()
        return warped + self.patches.part(residual.unflatten(2, (CELLS, -1)))
