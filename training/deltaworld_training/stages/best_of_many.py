# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the query whose prediction is best, without gradients (paper, equations 4 and 10)."""

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def best_query(
    draw: Callable[[int], Tensor], errors: Callable[[Tensor], Tensor], candidates: int,
    chunk: int,
) -> Tensor:
    """
    Return the best of K queries in each group, (B, G, ...).

    draw(k) gives the next queries (B, G, k, ...), errors(queries) their errors (B, G, k). Only
    `chunk` candidates exist at a time, so memory does not grow with K; the caller runs the
    winner again with gradients.
    """
    best: Tensor | None = None
    least: Tensor | None = None
    for begin in range(0, candidates, chunk):
        queries = draw(min(chunk, candidates - begin))
        found, index = errors(queries).min(2)
        index = index[(...,) + (None,) * (queries.ndim - 2)]
        winner = queries.gather(2, index.expand(-1, -1, 1, *queries.shape[3:]))[:, :, 0]
        if best is None or least is None:
            best, least = winner, found
            continue
        better = found < least
        least = torch.where(better, found, least)
        best = torch.where(better[(...,) + (None,) * (winner.ndim - 2)], winner, best)
    if best is None:
        raise ValueError(f'candidates must be at least 1, not {candidates}')
    return best
