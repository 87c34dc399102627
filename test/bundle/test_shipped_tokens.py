# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the tokens of the shipped bundle say: the change that they were made from, and no other."""

from itertools import islice

import numpy as np
import pytest

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.evaluate.demo import SAMPLE_BAG

PAIRS = 12


@pytest.fixture(scope='module')
def pairs() -> tuple[OnnxRuntimeEngine, np.ndarray, np.ndarray]:
    """Return the engine, features (P + 1, N, D) a step apart on a real drive, tokens (P, Dz)."""
    bundle = load_bundle('street-lite0')
    m = bundle.manifest
    engine = OnnxRuntimeEngine(bundle)
    features: list[np.ndarray] = []
    tokens: list[np.ndarray] = []
    due, kept = 0.0, None
    with BagFrames(SAMPLE_BAG) as bag:
        for frame in islice(bag, 400):
            if frame.stamp / 1e9 < due:
                continue
            due = frame.stamp / 1e9 + m.stride - 0.01
            fit = ImageFit(
                frame.image.shape[1], frame.image.shape[0], m.image_width, m.image_height)
            kept, delta, _ = engine.observe(fit.apply(frame.image), kept)
            features.append(engine.features_to_host(kept))
            tokens.append(delta)
            if len(features) > PAIRS:
                break
    return engine, np.stack(features), np.stack(tokens[1:])


def error(
    pairs: tuple[OnnxRuntimeEngine, np.ndarray, np.ndarray], tokens: np.ndarray,
) -> float:
    """Return the mean error of decoding tokens (P, Dz) on each pair's first frame."""
    engine, features, _ = pairs
    steps = load_bundle('street-lite0').manifest.steps
    errors = []
    for before, after, token in zip(features[:-1], features[1:], tokens, strict=True):
        decoded = engine.decode(
            engine.features_from_host(before), np.tile(token, (1, steps, 1)),
            np.ones(1, np.float32), ('future_features',))['future_features'][0, 0]
        errors.append(np.square(decoded - after).mean())
    return float(np.mean(errors))


def test_a_token_of_another_moment_hurts(
    pairs: tuple[OnnxRuntimeEngine, np.ndarray, np.ndarray],
) -> None:
    """A token belongs to its change: that of another one decodes worse, and worse than copying."""
    _, features, tokens = pairs
    copied = float(np.square(features[1:] - features[:-1]).mean())
    own, swapped = error(pairs, tokens), error(pairs, np.roll(tokens, PAIRS // 2, axis=0))
    print(f'own {own:.4f}, swapped {swapped:.4f}, copied {copied:.4f}')
    assert own < copied
    assert swapped > 1.01 * own


def test_noise_on_tokens_hurts_the_more_there_is(
    pairs: tuple[OnnxRuntimeEngine, np.ndarray, np.ndarray],
) -> None:
    """Decoding is steady: a little noise costs a little, much noise much."""
    tokens = pairs[2]
    noise = np.random.default_rng(0).normal(size=tokens.shape).astype(np.float32)
    errors = [error(pairs, tokens + share * tokens.std() * noise) for share in (0, 0.1, 0.5, 2.0)]
    print(errors)
    assert errors[0] <= 1.01 * errors[1]
    assert errors[1] < errors[2] < errors[3]
    assert errors[1] < 1.1 * errors[0]
