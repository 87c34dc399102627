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
from deltaworld_ros.forecast.selection import select_futures
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.rotary import time_table
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.data.recordings import UNLABELLED

TEMPERATURES = np.geomspace(0.3, 6.0, 46)


@dataclass(frozen=True)
class Guess:
    """
    One published map: the scores behind it, and which of its pixels came true.

    scores (K, C, rows, columns) of the futures of `weights` (K,); labels, right and known (a, b).
    """

    scores: Tensor
    weights: Tensor
    labels: Tensor
    right: np.ndarray
    known: np.ndarray


def fit_temperatures(
    networks: Networks, manifest: Manifest, stores: Sequence[FeatureStore], windows: int,
    seed: int = 0,
) -> list[float]:
    """
    Return the temperatures of the present and of each lead (S + 1,).

    Each is the one of TEMPERATURES with the least expected calibration error, averaged over the
    stores, with at most `windows` windows of each. What no store can tell stays at 1.
    """
    grid = (manifest.feature_rows, manifest.feature_columns)
    found: list[list[list[Guess]]] = []
    for store in stores:
        decode = DecodeGraph(
            networks.tokenizer, networks.segmentation, networks.depth, grid,
            store.labels.shape[2:], [1.0] * (manifest.steps + 1))
        found.append(_guesses(networks, manifest, decode, store, windows, seed))
    return [
        _best(decode, [guesses[lead] for guesses in found if guesses[lead]])
        for lead in range(manifest.steps + 1)]


def _best(decode: DecodeGraph, sets: list[list[Guess]]) -> float:
    if not sets:
        return 1.0
    errors = [np.mean([expected_error(decode, one, float(temperature)) for one in sets])
              for temperature in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(errors))]), 4)


@torch.no_grad()
def expected_error(decode: DecodeGraph, guesses: Sequence[Guess], temperature: float) -> float:
    """Return the expected calibration error of some maps at a temperature."""
    sums: Any = 0.0
    for one in guesses:
        likely = (one.scores / temperature).softmax(1)
        classes = (likely * one.weights[:, None, None, None]).sum(0, keepdim=True)
        confidence = decode.probability(classes, one.labels[None])[0].numpy()
        # Sums of weights may be a hair above one.
        sums = sums + reliability(np.minimum(confidence, 1.0)[one.known], one.right[one.known])
    return float(calibration_error(sums))


@torch.no_grad()
def _guesses(
    networks: Networks, manifest: Manifest, decode: DecodeGraph, store: FeatureStore,
    windows: int, seed: int,
) -> list[list[Guess]]:
    """Return the maps of the present and of each lead; none of a present without labels."""
    length = manifest.context_length + manifest.steps
    starts = [(clip, start) for clip in store.clips
              for start in range(store.features.shape[1] - length + 1)]
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(starts))[:windows]
    guesses: list[list[Guess]] = [[] for _ in range(manifest.steps + 1)]
    one = torch.ones(1)
    for clip, start in (starts[number] for number in chosen):
        frames = slice(start, start + length)
        features = torch.from_numpy(np.array(store.features[clip, frames])).float()
        labels = store.labels[clip, frames][manifest.context_length - 1:]
        seen, _, scores = decode.heads(features[manifest.context_length - 1:])
        labelled = bool((labels != UNLABELLED).any())
        truth = labels if labelled else seen.numpy()
        if labelled:
            guesses[0].append(_guess(scores[:1], one, seen[0], truth[0]))
        tokens, weights = _futures(
            networks, manifest, features[:manifest.context_length],
            store.times[clip, frames], generator)
        current = features[manifest.context_length - 1][None].expand(len(tokens), -1, -1)
        for step in range(manifest.steps):
            current = networks.tokenizer.decode(tokens[:, step], current)
            mean = (current * weights[:, None, None]).sum(0, keepdim=True)
            guesses[step + 1].append(_guess(
                decode.heads(current)[2], weights, decode.heads(mean)[0][0], truth[step + 1]))
    return guesses


def _guess(scores: Tensor, weights: Tensor, labels: Tensor, truth: np.ndarray) -> Guess:
    return Guess(scores, weights, labels, labels.numpy() == truth, truth != UNLABELLED)


def _futures(
    networks: Networks, manifest: Manifest, context: Tensor, times: np.ndarray,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the tokens (K, S, Dz) and weights (K,) that the node would choose."""
    deltas = networks.tokenizer.encode(context[:-1], context[1:])
    anchor = networks.tokenizer.encode_with_anchor(context[:1], context[:1])[1]
    tokens = torch.cat([anchor, deltas])[None]
    now = times[manifest.context_length - 1]
    ahead = now + manifest.stride * np.arange(1, manifest.steps + 1)
    moments = np.concatenate([times[:manifest.context_length], ahead]) - now
    tables = time_table(torch.from_numpy(moments), torch.tensor(
        manifest.rotary_frequencies, dtype=torch.float64))
    kept = manifest.queries == 'kept'
    shape = (1, manifest.num_samples, 1 if kept else manifest.steps, manifest.noise_size)
    noise = manifest.noise_std * torch.from_numpy(
        generator.standard_normal(shape, dtype=np.float32))
    if kept:
        noise = noise.expand(-1, -1, manifest.steps, -1)
    sampled = networks.world.rollout(
        tokens, (tables[0][None], tables[1][None]), noise.contiguous())[0]
    picked, weights = select_futures(
        sampled.numpy(), manifest.num_futures, manifest.selection_dimensions)
    return sampled[torch.from_numpy(np.asarray(picked))], torch.from_numpy(weights)
