# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Versions of TensorRT that were reported to compute vision transformers wrongly.

They are warned of and not refused: only the parity gate decides. Weak typing is not among them,
since this package builds typed graphs alone, and TensorRT 11 has no other (see docs/tensorrt.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from deltaworld_ros.engine.tensorrt.library import is_rtx, library_name

_ISSUES = 'https://github.com/NVIDIA/TensorRT/issues/'


@dataclass(frozen=True)
class KnownProblem:
    """
    What was reported, and where, for TensorRT from `first` to `last` (both included).

    `capability` is the only compute capability with the problem, or None for any. A version that
    is in no report is not cleared by that.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    capability: str | None
    problem: str
    source: str


KNOWN_PROBLEMS = (
    KnownProblem((10, 3), (10, 3), None,
                 'DINOv3 ViT-B in fp16 segments nearly every pixel as one class',
                 f'{_ISSUES}4723'),
    KnownProblem((10, 4), (10, 4), None,
                 'DINOv3 ViT-B in fp32 gives features of cosine 0.018, and NaN in fp16',
                 f'{_ISSUES}4742'),
    KnownProblem((10, 7), (10, 7), None,
                 'attention exported from scaled_dot_product_attention is wrong',
                 f'{_ISSUES}4333'),
    KnownProblem((10, 11), (10, 11), None, 'SegFormer is wrong for batches of more than one',
                 f'{_ISSUES}4853'),
    KnownProblem((10, 16), (10, 16), '12.0',
                 'fused attention of a vision transformer is wrong in fp16 and bf16',
                 f'{_ISSUES}4837'),
    KnownProblem((11, 1), (11, 1), None, 'SegFormer is wrong for batches of more than one',
                 f'{_ISSUES}4853'),
)


def known_problems(library: Any, capability: str) -> list[str]:
    """Return a line for each problem reported of this TensorRT on a GPU of this capability."""
    numbers = re.findall(r'\d+', library.__version__)[:2]
    version = tuple(int(number) for number in numbers)
    return [] if is_rtx(library) else [
        f'{library_name(library)} is reported to be wrong: {known.problem} ({known.source}); '
        'the parity check decides'
        for known in KNOWN_PROBLEMS
        if known.first <= version <= known.last and known.capability in (None, capability)]
