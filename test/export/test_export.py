# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exported graphs compute what the networks compute, at every batch, sample and future count."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from support.network_bundle import (
    network_bundle,
    random_networks,
    small_recipe,
    trained_like,
)

from deltaworld_ros.bundle.load import Bundle, load_bundle
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.model.networks import load_networks, save_networks
from deltaworld_training.runs.bundle_manifest import bundle_manifest


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    """Export real networks once."""
    return load_bundle(network_bundle())


def test_exported_graphs_reproduce_the_golden_arrays(bundle: Bundle) -> None:
    """The parity gate passes although the weights are stored in half precision."""
    report = check_parity(OnnxRuntimeEngine(bundle), bundle)
    assert report.passed, report


def test_weights_are_stored_in_half_precision(bundle: Bundle) -> None:
    """No large constant of a graph is float32."""
    for name in ('observe', 'rollout', 'decode'):
        graph = onnx.load(bundle.file(f'{name}.onnx')).graph
        large = [t.name for t in graph.initializer
                 if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) >= 256]
        assert not large
        assert any(t.data_type == onnx.TensorProto.FLOAT16 for t in graph.initializer)


def test_graphs_name_no_path_of_this_machine(bundle: Bundle) -> None:
    """Exporters like to record source files; a shipped graph must not."""
    here = str(Path(__file__).resolve().parents[2]).encode()
    for name in ('observe', 'rollout', 'decode'):
        assert here not in bundle.file(f'{name}.onnx').read_bytes()


@pytest.mark.parametrize('batch, samples, futures', [(1, 1, 1), (3, 7, 5)])
def test_dynamic_axes(bundle: Bundle, batch: int, samples: int, futures: int) -> None:
    """Rollout and decode equal the torch modules for other batches, samples and futures."""
    manifest = bundle.manifest
    modules = graph_modules(trained_like(), manifest)
    generator = np.random.default_rng(batch)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)
    times = manifest.context_length + manifest.steps
    angles = normal(batch, times, len(manifest.rotary_frequencies))
    feeds = {
        'rollout': {
            'tokens': normal(batch, manifest.context_length, manifest.token_size),
            'rotary_cos': np.cos(angles), 'rotary_sin': np.sin(angles),
            'noise': normal(batch, samples, manifest.steps, manifest.noise_size),
        },
        'decode': {
            'features': normal(batch, manifest.num_patches, manifest.feature_size),
            'tokens': normal(batch, futures, manifest.steps, manifest.token_size),
            'weights': np.full((batch, futures), 1.0 / futures, np.float32),
        },
    }
    for name, feed in feeds.items():
        session = onnxruntime.InferenceSession(
            str(bundle.file(f'{name}.onnx')), providers=['CPUExecutionProvider'])
        outputs = session.run(None, feed)
        with torch.no_grad():
            expected = modules[name](*(torch.from_numpy(value) for value in feed.values()))
        expected = expected if isinstance(expected, tuple) else (expected,)
        # The decoder's module gives the maps of single leads too, which are no outputs.
        for info, output, reference in zip(
                session.get_outputs(), outputs, expected[:len(outputs)], strict=True):
            reference = reference.numpy()
            assert output.shape == reference.shape, info.name
            if output.dtype == np.uint8:
                assert (output == reference).mean() > 0.98, info.name
            else:
                cosine = (output * reference).sum() / np.sqrt(
                    np.square(output).sum() * np.square(reference).sum())
                assert cosine > 0.999, info.name


def test_maps_are_resized_bilinearly() -> None:
    """The graph's upsampling equals torch's."""
    recipe = small_recipe()
    manifest = bundle_manifest(recipe)
    networks = random_networks(recipe)
    decode = graph_modules(networks, manifest)['decode']
    features = torch.randn(2, manifest.num_patches, manifest.feature_size)
    maps = features.transpose(1, 2).unflatten(2, recipe.grid)
    with torch.no_grad():
        scores, depth = decode.heads(features)
        labels = decode.labels(scores)
        size = (manifest.map_height, manifest.map_width)
        logits = F.interpolate(networks.segmentation(maps), size=size, mode='bilinear')
        # By its inverse, so that a plane stays one between the features.
        expected = 1 / F.interpolate(1 / networks.depth(maps), size=size, mode='bilinear')[:, 0]
        networks.depth.interpolation = 'depth'
        linear = F.interpolate(networks.depth(maps), size=size, mode='bilinear')[:, 0]
        assert torch.allclose(decode.heads(features)[1], linear, rtol=1e-4)
    assert (labels == logits.argmax(1)).float().mean() > 0.999
    assert torch.allclose(depth, expected, rtol=1e-4)


def test_fused_maps_are_those_of_the_mean_features() -> None:
    """Entry 0 is the present; with equal futures every future agrees with the fused map."""
    recipe = small_recipe()
    manifest = bundle_manifest(recipe)
    decode = graph_modules(random_networks(recipe), manifest)['decode']
    features = torch.randn(1, manifest.num_patches, manifest.feature_size)
    token = torch.randn(1, 1, manifest.steps, manifest.token_size)
    with torch.no_grad():
        labels, depth, fused, fused_depth, confidence = decode(
            features, token.expand(-1, 3, -1, -1), torch.tensor([[0.5, 0.3, 0.2]]))[:5]
        present, present_depth = decode.heads(features)
        present_labels = decode.labels(present)
    assert torch.equal(fused[:, 0], present_labels)
    assert torch.allclose(fused_depth[:, 0], present_depth)
    # The mean of equal tokens differs from them by rounding, which tells where classes are level.
    assert (fused[:, 1:] == labels[:, 0]).float().mean() > 0.999
    assert torch.allclose(fused_depth[:, 1:], depth[:, 0], atol=1e-3)
    assert (confidence > 1 / len(manifest.classes)).all() and (confidence < 1).all()


def test_confidence_is_the_mixed_probability_of_the_published_class() -> None:
    """By the futures' weights and each lead's own temperature."""
    recipe = small_recipe()
    temperatures = [1.5, 0.5, 2.0, 4.0]
    manifest = bundle_manifest(recipe, temperatures)
    networks = random_networks(recipe)
    features = torch.randn(1, manifest.num_patches, manifest.feature_size)
    tokens = torch.randn(1, 2, manifest.steps, manifest.token_size)
    weights = torch.tensor([[0.7, 0.3]])
    with torch.no_grad():
        outputs = graph_modules(networks, manifest)['decode'](features, tokens, weights)
        labels, confidence, futures, classes = (outputs[number] for number in (2, 4, 5, 6))
        for lead, temperature in enumerate(temperatures):
            seen, shares = (features[0][None], torch.ones(1)) if lead == 0 else (
                futures[0, :, lead - 1], weights[0])
            scores = networks.segmentation(seen.transpose(1, 2).unflatten(2, recipe.grid))
            rows, columns = labels.shape[2:]
            half = F.interpolate(scores, size=(rows // 2, columns // 2), mode='bilinear')
            mixed = ((half / temperature).softmax(1) * shares[:, None, None, None]).sum(0)
            assert torch.allclose(classes[0, lead], mixed, atol=1e-5)
            fine = F.interpolate(mixed[None], size=(rows, columns), mode='bilinear')[0]
            expected = fine.gather(0, labels[0, lead][None].long())[0]
            assert torch.allclose(confidence[0, lead], expected, atol=1e-5)


def test_the_present_has_its_share_in_each_lead() -> None:
    """In the labels of futures and fused maps, and in the probability that is published."""
    recipe = small_recipe()
    recipe.needed('forecast').fused = 'tokens'
    temperatures, shares = [1.0, 0.5, 2.0, 1.0], [0.2, 0.4, 0.999]
    networks = random_networks(recipe)
    alone, mixed = (
        graph_modules(networks, bundle_manifest(recipe, temperatures, 1.0, given))['decode']
        for given in ([], shares))
    m = bundle_manifest(recipe)
    features = torch.randn(1, m.num_patches, m.feature_size)
    tokens = 3.0 * torch.randn(1, 2, m.steps, m.token_size)
    weights = torch.tensor([[0.7, 0.3]])
    whole_size = m.map_height, m.map_width
    half = m.map_height // 2, m.map_width // 2
    with torch.no_grad():
        plain, found = alone(features, tokens, weights), mixed(features, tokens, weights)
        assert torch.equal(found[2][:, 0], plain[2][:, 0])
        assert all(torch.equal(found[number], plain[number]) for number in (1, 3, 5))
        for step, (temperature, share) in enumerate(zip(temperatures[1:], shares, strict=True)):

            def likely(
                seen: torch.Tensor, size: tuple[int, int] = half,
                temperature: float = temperature,
            ) -> torch.Tensor:
                scores = networks.segmentation(seen.transpose(1, 2).unflatten(2, recipe.grid))
                return (F.interpolate(scores, size=size, mode='bilinear') / temperature).softmax(1)
            future = found[5][0, :, step]
            now, whole = likely(features, whole_size), likely(future, whole_size)
            fine = ((1 - share) * whole + share * now).argmax(1)
            expected = (1 - share) * likely(future) + share * likely(features)
            assert (found[0][0, :, step] == fine).float().mean() > 0.999
            assert torch.allclose(
                found[6][0, step + 1], (expected * weights[0, :, None, None, None]).sum(0),
                atol=1e-5)
    # Where the present has nearly all, its labels are the published ones.
    assert (found[2][:, 3] == found[2][:, 0]).float().mean() > 0.98
    assert not torch.equal(found[2][:, 1], found[2][:, 0])


def test_networks_come_back_from_their_file(tmp_path: Path) -> None:
    """Sizes and every tensor survive; damage is one clear error."""
    networks = random_networks(small_recipe())
    path = tmp_path / 'networks.safetensors'
    save_networks(networks, path)
    loaded = load_networks(path)
    for name, module in networks.parts().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, loaded.parts()[name].state_dict()[key]), key
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match='not a readable safetensors file'):
        load_networks(path)
