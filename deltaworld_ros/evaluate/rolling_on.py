# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Futures beyond the bundle's last lead: each is rolled on from what it has predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine import Engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster


@dataclass(frozen=True)
class Farther:
    """Features (K,F,N,D), labels and depth (K,F,a,b) of the leads after the bundle's last."""

    features: np.ndarray
    labels: np.ndarray
    depth: np.ndarray


def all_leads(manifest: Manifest, horizon: float | None) -> tuple[float, ...]:
    """Return the bundle's leads and, up to a horizon in seconds, those a stride apart after it."""
    if horizon is None:
        return manifest.leads
    # A horizon that is no number, or infinite, is at no lead.
    steps = math.floor(horizon / manifest.stride + 1e-6) if math.isfinite(horizon) else 0
    if steps < manifest.steps or steps > 64:
        raise UserError(f'--horizon {horizon:g}: must be from {manifest.leads[-1]:g} to '
                        f'{64 * manifest.stride:g} s')
    return tuple(round(manifest.stride * step, 9) for step in range(1, steps + 1))


def roll_on(engine: Engine, manifest: Manifest, forecaster: Forecaster, tokens: np.ndarray,
            last: np.ndarray, leads: tuple[float, ...]) -> Farther | None:
    """
    Predict the leads after the bundle's for futures (K,S,Dz) whose last features are (K,N,D).

    The window of context tokens slides over what was predicted; its first place keeps the anchor
    token, since a delta token there would be of a kind that the predictor was not trained on.
    Noise is drawn with a fixed seed.
    """
    wanted = len(leads) - manifest.steps
    if wanted <= 0:
        return None
    context, times = forecaster.context_tokens()
    random = np.random.default_rng(0)
    maps: dict[str, list[list[np.ndarray]]] = {
        name: [[] for _ in tokens] for name in ('future_features', 'labels', 'depth')}
    for future, own in enumerate(tokens):
        sequence = [*context, *own]
        when = [*times, *leads[:manifest.steps]]
        features = last[future]
        for _ in range(math.ceil(wanted / manifest.steps)):
            length = manifest.context_length - 1
            window = np.stack([sequence[0], *sequence[-length:]])
            ahead = [when[-1] + lead for lead in manifest.leads]
            relative = np.array([when[0], *when[-length:], *ahead]) - when[-1]
            noise = manifest.noise_std * random.standard_normal(
                (1, 1 if manifest.queries == 'kept' else manifest.steps, manifest.noise_size))
            noise = np.broadcast_to(noise, (1, manifest.steps, manifest.noise_size))
            tables = time_tables(relative, manifest.rotary_frequencies)
            predicted = engine.rollout(window, *tables, noise.astype(np.float32))
            decoded = engine.decode(
                engine.features_from_host(features), predicted, np.ones(1, np.float32),
                tuple(maps))
            for name, found in maps.items():
                found[future] += list(decoded[name][0])
            features = decoded['future_features'][0, -1]
            sequence += list(predicted[0])
            when += ahead
    stacked = {name: np.stack([np.stack(one[:wanted]) for one in found])
               for name, found in maps.items()}
    return Farther(stacked['future_features'], stacked['labels'], stacked['depth'])
