# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Fit the temperature of the futures' weights, so that they are how often each comes closest.

Closest is the future whose features at the last lead have the least smooth-L1 distance to those
that came, as in `deltaworld evaluate`.
"""

from collections.abc import Sequence

import numpy as np
import torch

from deltaworld_ros.evaluate.scorers.features import smooth_l1
from deltaworld_ros.forecast.selection import temper
from deltaworld_ros.model.networks import Networks
from deltaworld_training.stages.sampled_windows import SampledWindow

# At the greatest, the weights are nearly equal.
TEMPERATURES = np.geomspace(0.1, 10.0, 81)


def fit_weight_temperature(
    networks: Networks, stores: Sequence[Sequence[SampledWindow]],
) -> float:
    """Return that of TEMPERATURES with the least log loss, averaged over the stores' windows."""
    closest = [[closest_future(networks, window) for window in windows] for windows in stores]
    losses = [
        np.mean([log_loss(windows, found, float(temperature))
                 for windows, found in zip(stores, closest, strict=True)])
        for temperature in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 4)


@torch.no_grad()
def closest_future(networks: Networks, window: SampledWindow) -> int:
    """Return which of a window's futures came closest at the last lead."""
    current = window.features[:1].expand(len(window.tokens), -1, -1)
    for token in window.tokens.unbind(1):
        current = networks.tokenizer.decode(token, current)
    return int(smooth_l1(current.numpy(), window.features[-1].numpy()).argmin())


def log_loss(
    windows: Sequence[SampledWindow], closest: Sequence[int], temperature: float,
) -> float:
    """Return the mean of -log(weight of the closest future)."""
    weights = [temper(window.weights.numpy(), temperature)[place]
               for window, place in zip(windows, closest, strict=True)]
    return float(-np.log(np.maximum(weights, np.finfo(np.float32).tiny)).mean())
