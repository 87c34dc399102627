# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tokens of whole clips, from true pairs of frames or from own reconstructions."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_training.data.feature_store import FeatureStore

BATCH = 64


def encode_frames(tokenizer: Any, features: Tensor, own: bool) -> tuple[Tensor, Tensor]:
    """
    Return the tokens (B, F, Dz) of features (B, F, N, D) and what is decoded upon next (B, N, D).

    The first token is that of the pair (black frame, first frame). Usually tokens are those of
    true pairs, and the last true frame is decoded upon. With `own`, each token is relative to the
    reconstruction of the frame before, from the black frame on, and the last reconstruction is
    decoded upon (paper, appendix D).
    """
    if not own:
        anchor = tokenizer.encode_anchor(features[:, 0])[:, None]
        before, after = features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1)
        if features.shape[1] == 1:
            return anchor, features[:, -1]
        deltas = tokenizer.encode(before, after).unflatten(0, (len(features), -1))
        return torch.cat([anchor, deltas], dim=1), features[:, -1]
    current = tokenizer.black.expand_as(features[:, 0])
    tokens = []
    for frame in features.unbind(1):
        tokens.append(tokenizer.encode(current, frame))
        current = tokenizer.decode(tokens[-1], current)
    return torch.stack(tokens, dim=1), current


def decode_tokens(tokenizer: Any, tokens: Tensor, current: Tensor) -> Tensor:
    """Decode tokens (B, S, Dz) one on top of the other from features (B, N, D): (B, S, N, D)."""
    decoded = []
    for token in tokens.unbind(1):
        current = tokenizer.decode(token, current)
        decoded.append(current)
    return torch.stack(decoded, dim=1)


@torch.no_grad()
def encode_clips(tokenizer: Any, store: FeatureStore, own: bool) -> dict[str, np.ndarray]:
    """Return the tokens of all complete clips as a predictor's training takes them."""
    device = next(tokenizer.parameters()).device
    tokens = np.concatenate([
        encode_frames(
            tokenizer,
            torch.from_numpy(store.features[store.clips[begin:begin + BATCH]]).to(device).float(),
            own)[0].cpu().numpy()
        for begin in range(0, len(store.clips), BATCH)])
    return {'anchors': tokens, 'deltas': tokens, 'times': store.times[store.clips]}
