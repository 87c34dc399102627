# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Count the work of a forecast, part by part, by running the networks on torch's meta device.

One multiply-add counts as two floating-point operations. Linear layers, convolutions and both
products of attention are counted; norms, activations and rotations are not (0.1 % at ViT-B). A
rollout is counted as the paper counts it: every sample and step alone, projecting its whole
context again. This package's rollouts project the context once for all samples and steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deltaworld_ros.bundle.yaml_file import read_yaml
from deltaworld_ros.errors import UserError
from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_ros.model.dinov3 import PATCH, DinoV3
from deltaworld_ros.model.foresight import ForesightWorld, window_table
from deltaworld_ros.model.grid_tokenizer import GridDeltaTok
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.spatial_world import SpatialWorld, axial_table

GIGA = 1e9


class TransformerSizes(BaseModel, extra='forbid'):
    """The sizes of one transformer; those of ViT-B unless others are given."""

    size: int = Field(default=768, gt=0)
    heads: int = Field(default=12, gt=0)
    layers: int = Field(default=12, gt=0)
    mlp_size: int = Field(default=3072, gt=0)


class Configuration(BaseModel, extra='forbid'):
    """What is forecast how; the paper's mid horizon at ViT-B and 256 px unless said otherwise."""

    tokens: Literal['delta', 'frame', 'spatial'] = 'delta'
    learned_query: bool = Field(default=False, description='the discriminative model')
    image_width: int = Field(default=256, gt=0, multiple_of=PATCH)
    image_height: int = Field(default=256, gt=0, multiple_of=PATCH)
    backbone: TransformerSizes = TransformerSizes()
    tokenizer: TransformerSizes = TransformerSizes()
    predictor: TransformerSizes = TransformerSizes()
    context: int = Field(default=4, gt=0, description='frames seen')
    steps: int = Field(default=3, gt=0, description='frames forecast')
    samples: int = Field(default=20, gt=0)
    crops: int = Field(default=2, gt=0, description='square crops that cover an image')


_MODELS: dict[str, dict[str, Any]] = {
    'vitb': {},
    'vitb-discriminative': {'learned_query': True, 'samples': 1},
    'frame-token': {'tokens': 'frame'},
    'dino-world': {'tokens': 'spatial', 'learned_query': True, 'samples': 1},
    'dino-world-best-of-many': {'tokens': 'spatial'},
}
CONFIGURATIONS = {
    f'{model}-{side}': {'image_width': side, 'image_height': side, **settings}
    for side in (256, 512) for model, settings in _MODELS.items()
}


def load_configuration(name_or_path: str, **overrides: int | None) -> Configuration:
    """Return a named configuration or that of a YAML file; None overrides nothing."""
    path = Path(name_or_path)
    if name_or_path not in CONFIGURATIONS and not path.is_file():
        raise UserError(
            f'--configuration {name_or_path!r} not found; give a YAML file or one of: '
            f'{", ".join(CONFIGURATIONS)}')
    settings = CONFIGURATIONS.get(name_or_path) or read_yaml(path)
    try:
        given = {name: value for name, value in overrides.items() if value is not None}
        return Configuration(**{**settings, **given})
    except (ValidationError, TypeError) as error:
        raise UserError(f'{name_or_path}: {" ".join(str(error).split())}') from None


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one call, those of attention's products apart."""

    layers: int
    attention: int

    @property
    def gflops(self) -> float:
        """Return both together, in 10^9 operations."""
        return (self.layers + self.attention) / GIGA


def count(call: Callable[[], Any]) -> Work:
    """Run a call of torch modules and count its operations."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call()
    by_operator = counter.get_flop_counts()['Global']
    # Layers multiply by a matrix of weights; only attention multiplies batches of matrices.
    attention = sum(
        flops for operator, flops in by_operator.items()
        if 'bmm' in str(operator) or 'attention' in str(operator))
    return Work(sum(by_operator.values()) - attention, attention)


@dataclass(frozen=True)
class Cost:
    """
    The work of a forecast's parts, and how often each runs.

    `backbone` runs for each frame of the context, `encoder` for each of its pairs of frames,
    `predictor` (one entry a step, whose context grows) and `decoder` for each sample and step.
    Spatial tokens have neither encoder nor decoder.
    """

    backbone: Work
    encoder: Work | None
    predictor: list[Work]
    decoder: Work | None
    context: int
    samples: int
    crops: int

    def gflops(self, attention_of_predictor: int = 1) -> float:
        """
        Return the GFLOPs of the whole forecast.

        The paper's figures of DINO-world (959 and 12013 in Table 2, 5.8e3 in Table 3) come out
        only when the products of its predictor's attention are counted twice; see docs.
        """
        encoder = self.encoder.gflops if self.encoder else 0.0
        decoder = self.decoder.gflops if self.decoder else 0.0
        predictor = sum(
            (step.layers + attention_of_predictor * step.attention) / GIGA
            for step in self.predictor)
        sample = predictor + len(self.predictor) * decoder
        return self.crops * (
            self.context * (self.backbone.gflops + encoder) + self.samples * sample)

    def report(self) -> dict[str, Any]:
        """Return all figures in GFLOPs, ready for JSON."""
        report: dict[str, Any] = {
            'backbone_per_frame': self.backbone.gflops,
            'encoder_per_pair': self.encoder.gflops if self.encoder else None,
            'predictor_per_sample_and_step': [step.gflops for step in self.predictor],
            'decoder_per_sample_and_step': self.decoder.gflops if self.decoder else None,
            'context': self.context, 'steps': len(self.predictor), 'samples': self.samples,
            'crops': self.crops, 'total': self.gflops(),
        }
        if self.decoder is None:
            report['total_as_published'] = self.gflops(attention_of_predictor=2)
        return report


def forecast_cost(
    backbone: nn.Module, tokenizer: GridDeltaTok | CompactDeltaTok | None,
    world: DeltaWorld | SpatialWorld | ForesightWorld, image: tuple[int, int], context: int,
    steps: int, samples: int, crops: int = 1,
) -> Cost:
    """
    Count a forecast with these networks on images of (height, width) pixels.

    The networks may be on the meta device; they must all be on one. `tokenizer` is None exactly
    where the world is spatial.
    """
    device = next(world.parameters()).device
    grid = (image[0] // PATCH, image[1] // PATCH)
    picture = torch.zeros(1, 3, *image, dtype=torch.uint8, device=device)
    features = backbone(picture)
    encoder = decoder = None
    if tokenizer is not None:
        token = tokenizer.encode(features, features)
        encoder = count(lambda: tokenizer.encode(features, features))
        decoder = count(lambda: tokenizer.decode(token, features))

    def step(length: int) -> Work:
        if isinstance(world, ForesightWorld):
            frame = features if tokenizer is None else token[:, None]
            known = frame[:, None].expand(-1, world.frames - 1, -1, -1)
            times = torch.zeros(1, world.frames, dtype=torch.float64, device=device)
            window = tuple(part.to(device) for part in window_table(times))
            return count(lambda: world(known, window))
        query = torch.zeros(1, 1, world.noise_size, device=device)
        times = torch.zeros(1, length + 1, dtype=torch.float64, device=device)
        if isinstance(world, SpatialWorld):
            past = features[:, None].expand(-1, length, -1, -1)
            cos, sin = axial_table(times, grid, world.frequencies)
            before, now = _split(cos, sin, length * features.shape[1])
            return count(lambda: world.predict(world.keys_values(past, before), query, now))
        tokens = token[:, None].expand(-1, length, -1)
        # The rotation is not counted, so a table of one frequency serves.
        table = torch.zeros(1, length + 1, 1, device=device)
        before, now = _split(table, table, length)
        return count(lambda: world(tokens, before, query, now))

    return Cost(
        count(lambda: backbone(picture)), encoder,
        [step(context + index) for index in range(steps)], decoder, context, samples, crops)


def _split(
    cos: Tensor, sin: Tensor, at: int,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return (cos[:, :at], sin[:, :at]), (cos[:, at:], sin[:, at:])


def configuration_cost(configuration: Configuration) -> Cost:
    """Count a configuration of the paper's networks, built on the meta device."""
    c = configuration
    sizes = dict(c.predictor)
    world: DeltaWorld | SpatialWorld
    tokenizer = None
    with torch.device('meta'):
        backbone = DinoV3(**dict(c.backbone)).eval()
        if c.tokens == 'spatial':
            world = SpatialWorld(
                **sizes, feature_size=c.backbone.size, learned_query=c.learned_query)
        else:
            if c.tokenizer.size != c.backbone.size:
                raise UserError(
                    f'configuration: the size {c.tokenizer.size} of the tokenizer must be the '
                    f"backbone's, {c.backbone.size}")
            tokenizer = GridDeltaTok(
                (c.image_height // PATCH, c.image_width // PATCH), **dict(c.tokenizer),
                gated=False, frame_tokens=c.tokens == 'frame').eval()
            world = DeltaWorld(
                **sizes, token_size=c.tokenizer.size, learned_query=c.learned_query)
        return forecast_cost(
            backbone, tokenizer, world.eval(), (c.image_height, c.image_width), c.context,
            c.steps, c.samples, c.crops)
