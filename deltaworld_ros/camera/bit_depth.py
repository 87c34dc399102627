# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many of the 16 bits of a channel a camera uses, and its values in 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# What sensors have; fewer than 10 bits would come in 8.
DEPTHS = (10, 12, 14, 16)


class BitDepth:
    """
    The bits that the images of one camera use: 10, 12, 14 or 16, by the largest value so far.

    It never decreases, so that a scene does not change its brightness when it gets darker.
    `bits` is 0 before the first image of 16 bits.
    """

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits

    def note(self) -> str:
        """Return what a user should know, nothing for images of 8 bits or of all 16."""
        if self.bits in (0, 16):
            return ''
        return (f'the images have 16 bits a channel, of which they use {self.bits}: '
                f'the upper 8 of these {self.bits} are taken')

    def see(self, values: NDArray[Any]) -> None:
        """Take an image's values (uint16) into account."""
        needed = int(values.max(initial=0)).bit_length()
        self.bits = max(self.bits, next(depth for depth in DEPTHS if depth >= needed))

    def reduce(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the values (uint16) in 8 bits, as the images so far and this one need it."""
        self.see(values)
        return (values >> (self.bits - 8)).astype(np.uint8)
