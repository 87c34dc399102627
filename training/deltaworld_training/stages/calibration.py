# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Fit what the published classes follow from: the present map's shares and the temperatures.

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
from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.evaluate.scorers.calibration import calibration_error, reliability
from deltaworld_ros.evaluate.scorers.segmentation import confusion, counts, mean_iou
from deltaworld_ros.export.graphs import DecodeGraph, graph_modules, mixed
from deltaworld_ros.forecast.selection import temper
from deltaworld_ros.model.networks import Networks
from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.stages.sampled_windows import SampledWindow

TEMPERATURES = np.geomspace(0.2, 4.0, 25)
SHARES = np.linspace(0.0, 0.5, 11)
# What the heads see in the frame that came flatters them: its errors count half.
UNLABELLED_SHARE = 0.5


@dataclass(frozen=True)
class Scores:
    """
    What the heads make of one lead of a window, and what came.

    futures (K, C, rows, columns), their mean token's and the present's (1, C, rows, columns);
    weights (K,) of the futures; truth (a, b) and whether it is that of the frame's own labels.
    """

    futures: Tensor
    fused: Tensor
    present: Tensor
    weights: Tensor
    truth: np.ndarray
    labelled: bool


@torch.no_grad()
def published_labels(
    decode: DecodeGraph, one: Scores, temperature: float, share: float | None,
) -> Tensor:
    """Return the fused labels (1, a, b)."""
    if share is None:
        return decode.labels(one.fused)
    return mixed(decode.classes(one.fused, temperature), decode.classes(
        one.present, temperature), share).argmax(1).to(torch.int32)


@torch.no_grad()
def mixed_classes(
    decode: DecodeGraph, one: Scores, temperature: float, share: float | None,
) -> Tensor:
    """Return the classes' probabilities (1, C, a / 2, b / 2)."""
    classes = torch.einsum('kcij,k->cij', decode.likely(one.futures, temperature), one.weights)
    return classes[None] if share is None else mixed(
        classes[None], decode.likely(one.present, temperature), share)


def fit_confidence(
    networks: Networks, manifest: Manifest, stores: Sequence[Sequence[SampledWindow]],
) -> tuple[list[float], list[float]]:
    """
    Return the temperatures of the present and of each lead, and the present's share in each.

    A share is the one of SHARES with which the published labels gain most over the present map in
    mIoU, in the store in which they gain least: "nothing changes" is the one forecast that must be
    beaten everywhere. There are none where the fused maps are not those of tokens. A temperature
    is the one of TEMPERATURES with which the store that it fits worst has the least expected
    calibration error, times UNLABELLED_SHARE where a store has no labels. What no window can tell
    stays at 1. The weights are those of the manifest's `weight_temperature`.
    """
    decode: Any = graph_modules(networks, manifest)['decode']
    found = [window_scores(manifest, decode, windows) for windows in stores]
    temperatures, shares = [], []
    for lead in range(manifest.steps + 1):
        sets = [scores[lead] for scores in found if scores[lead]]
        share = None
        if lead and manifest.fused == 'tokens':
            rough = best_temperature(decode, sets, None, TEMPERATURES[::4])
            share = best_share(decode, sets, rough)
            shares.append(share)
        temperatures.append(best_temperature(decode, sets, share))
    return temperatures, shares


def best_share(
    decode: DecodeGraph, sets: Sequence[Sequence[Scores]], temperature: float,
) -> float:
    """Return the share with the greatest gain in the set in which it gains least."""
    present = [mean_iou(pixel_counts(decode, one, temperature, 1.0)) for one in sets]
    gains = [
        min(mean_iou(pixel_counts(decode, one, temperature, float(share))) - alone
            for one, alone in zip(sets, present, strict=True))
        for share in SHARES]
    return round(float(SHARES[int(np.argmax(gains))]), 4)


def pixel_counts(
    decode: DecodeGraph, lead: Sequence[Scores], temperature: float, share: float | None,
) -> np.ndarray:
    """Return right, published and true pixels (3, C) of a lead's published maps."""
    classes = lead[0].fused.shape[1]
    return np.sum([
        counts(confusion(
            published_labels(decode, one, temperature, share)[0].numpy(), one.truth, classes))
        for one in lead], axis=0)


def best_temperature(
    decode: DecodeGraph, sets: Sequence[Sequence[Scores]], share: float | None,
    choices: np.ndarray = TEMPERATURES,
) -> float:
    """Return which of the choices fits the sets best; 1 where there is no set."""
    if not sets:
        return 1.0
    errors = [max(expected_error(decode, one, float(temperature), share) * (
        1.0 if one[0].labelled else UNLABELLED_SHARE) for one in sets)
        for temperature in choices]
    return round(float(choices[int(np.argmin(errors))]), 4)


def expected_error(
    decode: DecodeGraph, lead: Sequence[Scores], temperature: float, share: float | None,
) -> float:
    """Return the expected calibration error of a lead's published maps."""
    sums: Any = 0.0
    for one in lead:
        labels = published_labels(decode, one, temperature, share)
        confidence = decode.probability(
            mixed_classes(decode, one, temperature, share), labels)[0].numpy()
        known = one.truth != UNLABELLED
        # Sums of weights may be a hair above one.
        sums = sums + reliability(
            np.minimum(confidence, 1.0)[known], (labels[0].numpy() == one.truth)[known])
    return float(calibration_error(sums))


@torch.no_grad()
def window_scores(
    manifest: Manifest, decode: DecodeGraph, windows: Sequence[SampledWindow],
) -> list[list[Scores]]:
    """Return what is read of the present and of each lead; no present without labels."""
    found: list[list[Scores]] = [[] for _ in range(manifest.steps + 1)]
    for window in windows:
        labelled = bool((window.labels != UNLABELLED).any())
        seen = decode.heads(window.features)[0]
        # In the size in which maps are published: small things are worth less in smaller ones.
        truth = [enlarge_map(one, (manifest.map_width, manifest.map_height))
                 for one in window.labels] if labelled else decode.labels(seen).numpy()
        now = seen[:1]
        if labelled:
            found[0].append(Scores(now, now, now, torch.ones(1), truth[0], labelled))
        weights = torch.from_numpy(temper(window.weights.numpy(), manifest.weight_temperature))
        mean = (window.tokens * weights[:, None, None]).sum(0)
        futures = window.features[:1].expand(len(window.tokens), -1, -1)
        fused = window.features[:1]
        for step in range(manifest.steps):
            futures = decode.tokenizer.decode(window.tokens[:, step], futures)
            if manifest.fused == 'tokens':
                fused = decode.tokenizer.decode(mean[None, step], fused)
            else:
                fused = (futures * weights[:, None, None]).sum(0, keepdim=True)
            found[step + 1].append(Scores(
                decode.heads(futures)[0], decode.heads(fused)[0], now, weights, truth[step + 1],
                labelled))
    return found
