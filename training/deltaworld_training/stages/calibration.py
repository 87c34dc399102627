# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Fit one temperature a lead, so that confidence is the share of pixels that come true.

Windows that no part was trained on are forecast as the node forecasts them. Where their frames
have labels these are the truth, elsewhere what the heads see in the true future.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.evaluate.scorers.calibration import calibration_error, reliability
from deltaworld_ros.export.graphs import DecodeGraph
from deltaworld_ros.export.write_bundle import OUTPUTS
from deltaworld_ros.forecast.selection import temper
from deltaworld_ros.model.networks import Networks
from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.stages.sampled_windows import SampledWindow

TEMPERATURES = np.geomspace(0.2, 4.0, 31)
# What the heads see in the frame that came flatters them: its errors count half.
UNLABELLED_SHARE = 0.5


@dataclass(frozen=True)
class Guess:
    """
    One published map: the scores behind it, and which of its pixels came true.

    scores (K, C, rows, columns) of the futures of `weights` (K,); labels, right and known (a, b);
    whether the truth is that of the frame's own labels.
    """

    scores: Tensor
    weights: Tensor
    labels: Tensor
    right: np.ndarray
    known: np.ndarray
    labelled: bool


def fit_temperatures(
    networks: Networks, manifest: Manifest, stores: Sequence[Sequence[SampledWindow]],
) -> list[float]:
    """
    Return the temperatures of the present and of each lead (S + 1,).

    Each is the one of TEMPERATURES with which the store that it fits worst has the least expected
    calibration error, times UNLABELLED_SHARE where a store has no labels. What no window can tell
    stays at 1. The weights are those of the manifest's `weight_temperature`.
    """
    grid = (manifest.feature_rows, manifest.feature_columns)
    found: list[list[list[Guess]]] = []
    for windows in stores:
        decode = DecodeGraph(
            networks.tokenizer, networks.segmentation, networks.depth, grid,
            windows[0].labels.shape[1:], [1.0] * (manifest.steps + 1), manifest.fused)
        found.append(published_guesses(manifest, decode, windows))
    return [
        _best(decode, [guesses[lead] for guesses in found if guesses[lead]])
        for lead in range(manifest.steps + 1)]


def _best(decode: DecodeGraph, sets: list[list[Guess]]) -> float:
    if not sets:
        return 1.0
    errors = [max(expected_error(decode, one, float(temperature)) * (
        1.0 if one[0].labelled else UNLABELLED_SHARE) for one in sets)
        for temperature in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(errors))]), 4)


@torch.no_grad()
def expected_error(decode: DecodeGraph, guesses: Sequence[Guess], temperature: float) -> float:
    """Return the expected calibration error of some maps at a temperature."""
    sums: Any = 0.0
    for one in guesses:
        likely = decode.likely(one.scores, temperature)
        classes = (likely * one.weights[:, None, None, None]).sum(0, keepdim=True)
        confidence = decode.probability(classes, one.labels[None])[0].numpy()
        # Sums of weights may be a hair above one.
        sums = sums + reliability(np.minimum(confidence, 1.0)[one.known], one.right[one.known])
    return float(calibration_error(sums))


@torch.no_grad()
def published_guesses(
    manifest: Manifest, decode: DecodeGraph, windows: Sequence[SampledWindow],
) -> list[list[Guess]]:
    """Return the maps of the present and of each lead; none of a present without labels."""
    guesses: list[list[Guess]] = [[] for _ in range(manifest.steps + 1)]
    one = torch.ones(1)
    for window in windows:
        seen = decode.heads(window.features)[0]
        labelled = bool((window.labels != UNLABELLED).any())
        truth = window.labels if labelled else seen.numpy()
        if labelled:
            guesses[0].append(_guess(
                decode.heads(window.features[:1])[2], one, seen[0], truth[0], labelled))
        weights = torch.from_numpy(temper(window.weights.numpy(), manifest.weight_temperature))
        # The graph itself says what is published.
        maps = dict(zip(OUTPUTS['decode'], decode(
            window.features[:1], window.tokens[None], weights[None]), strict=False))
        futures, published = maps['future_features'][0], maps['fused_labels'][0]
        for lead in range(1, manifest.steps + 1):
            guesses[lead].append(_guess(
                decode.heads(futures[:, lead - 1])[2], weights, published[lead], truth[lead],
                labelled))
    return guesses


def _guess(
    scores: Tensor, weights: Tensor, labels: Tensor, truth: np.ndarray, labelled: bool,
) -> Guess:
    return Guess(
        scores, weights, labels, labels.numpy() == truth, truth != UNLABELLED, labelled)
