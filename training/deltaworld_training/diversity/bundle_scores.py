# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the samples of a bundle, through its engine, against true futures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.engine import Engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast import Forecaster, Restart
from deltaworld_training.diversity.evaluation import (
    PastFeatures,
    Samples,
    copy_last,
    score_past,
    with_features,
)
from deltaworld_training.diversity.futures import CONTEXT, STEPS, STRIDE, TrueFutures
from deltaworld_training.diversity.measures import PastScore, pool

PLAIN_SAMPLES = 20
FIRST_STAMP = 1.0  # s, of the newest frame of each past
Queries = Literal['fresh', 'kept']


def check_times(manifest: Manifest) -> None:
    """Raise `UserError` where a bundle forecasts other times than the true futures have."""
    times = manifest.context_length, manifest.steps, manifest.stride
    if times != (CONTEXT, STEPS, STRIDE):
        raise UserError(
            f'bundle {manifest.name}: its context, steps and stride are {times}; the true '
            f'futures have {(CONTEXT, STEPS, STRIDE)}')


class BundleSampler:
    """The samples of a bundle for pasts, with one way of drawing its noise queries."""

    def __init__(self, engine: Engine, manifest: Manifest, queries: Queries, seed: int) -> None:
        self.engine, self.manifest = engine, manifest
        self.forecaster = Forecaster(engine, manifest, seed=seed, queries=queries)

    def see(self, past: PastFeatures) -> None:
        """Take in the pictures of a context."""
        self.forecaster.reset(Restart.REQUESTED)
        for image, time in zip(past.images, past.times, strict=True):
            self.forecaster.observe(image, FIRST_STAMP + float(time))

    def chosen(self) -> Samples:
        """Return the futures that the node would publish, with their weights."""
        tokens, weights, _ = self.forecaster.sample_futures()
        return self.decode(tokens), weights

    def plain(self) -> Samples:
        """Return plain samples of equal weight (the paper's protocol)."""
        tokens, weights, _ = self.forecaster.sample_futures(PLAIN_SAMPLES, PLAIN_SAMPLES)
        return self.decode(tokens), weights

    def true_tokens(self, one: TrueFutures) -> Samples:
        """Return the true futures as the tokenizer carries them: what no predictor can beat."""
        tokens = np.zeros((*one.futures.shape[:2], self.manifest.token_size), np.float32)
        for number, frames in enumerate(one.futures):
            features = self.forecaster.features
            for step, frame in enumerate(frames):
                features, tokens[number, step], _ = self.engine.observe(frame, features)
        return self.decode(tokens), one.probabilities

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Decode tokens (M, S, Dz) to features (M, S, N, D) from the newest frame on."""
        weights = np.full(len(tokens), 1 / len(tokens), np.float32)
        decoded: np.ndarray = self.engine.decode(
            self.forecaster.features, tokens, weights, ('future_features',))['future_features']
        return decoded


def extract_with(engine: Engine, images: np.ndarray) -> np.ndarray:
    """Return the features (n, N, D) of pictures (n, h, w, 3)."""
    return np.stack([
        engine.features_to_host(engine.observe(image, None)[0]) for image in images])


def bundle_scores(
    engine: Engine, manifest: Manifest, sets: Iterable[TrueFutures], queries: Sequence[Queries],
    seed: int = 0, advance: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """
    Return the pooled scores (`measures.pool`) of each way of forecasting, by its name.

    For each entry of `queries` the bundle's K chosen futures and 20 plain samples; then the true
    futures' own tokens and copy-last. `advance` is called after each past.
    """
    check_times(manifest)
    samplers = {way: BundleSampler(engine, manifest, way, seed) for way in queries}
    chosen = f'{manifest.num_futures} of {manifest.num_samples}'
    scores: dict[str, list[PastScore]] = {}
    for one in sets:
        truth = next(with_features([one], lambda images: extract_with(engine, images)))
        rows: dict[str, Samples] = {}
        for way, sampler in samplers.items():
            sampler.see(truth.past)
            rows[f'{chosen}, {way}'] = sampler.chosen()
            rows[f'{PLAIN_SAMPLES} plain, {way}'] = sampler.plain()
        # Every sampler has seen the same pictures.
        rows['true tokens'] = sampler.true_tokens(one)
        rows['copy_last'] = copy_last(truth.past)
        for name, samples in rows.items():
            scores.setdefault(name, []).append(score_past(*samples, truth))
        advance()
    return {name: pool(found) for name, found in scores.items()}
