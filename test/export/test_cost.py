# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The counted operations against the paper's tables and against sums done by hand."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from deltaworld_ros.cli import app
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.cost import Cost, configuration_cost, count, load_configuration
from deltaworld_ros.model.blocks import attention


@functools.cache
def cost(name: str, **overrides: int) -> Cost:
    """Count a named configuration, each once."""
    return configuration_cost(load_configuration(name, **overrides))


def test_counts_two_operations_for_each_multiply_add() -> None:
    """A linear layer, a convolution and both products of attention, by hand."""
    layer, x = nn.Linear(3, 5, device='meta'), torch.zeros(2, 7, 3, device='meta')
    work = count(lambda: layer(x))
    assert (work.layers, work.attention) == (2 * 2 * 7 * 3 * 5, 0)
    convolution = nn.Conv2d(4, 6, 3, groups=2, device='meta')
    image = torch.zeros(1, 4, 5, 5, device='meta')
    assert count(lambda: convolution(image)).layers == 2 * 9 * 6 * 9 * 2
    query, key = torch.zeros(1, 2, 7, 8, device='meta'), torch.zeros(1, 2, 9, 8, device='meta')
    work = count(lambda: attention(query, key, key))
    assert (work.layers, work.attention) == (0, 2 * 2 * 7 * 9 * 8 * 2)
    work = count(lambda: nn.functional.scaled_dot_product_attention(query, key, key))
    assert (work.layers, work.attention) == (0, 2 * 2 * 7 * 9 * 8 * 2)


def test_deltaworld_costs_what_the_paper_says() -> None:
    """Table B and the 6721 of Table 2, within one per cent."""
    counted = cost('vitb-256')
    assert counted.encoder and counted.decoder
    assert counted.backbone.gflops == pytest.approx(47.185, rel=0.01)
    assert counted.encoder.gflops == pytest.approx(96.930, rel=0.01)
    assert counted.decoder.gflops == pytest.approx(46.12, rel=0.01)
    # Two decimals are known of the first step, and the sum of three steps to about 0.01.
    assert round(counted.predictor[0].gflops, 2) == 0.26
    assert sum(step.gflops for step in counted.predictor) == pytest.approx(0.84, abs=0.015)
    assert counted.gflops() == pytest.approx(6721, rel=0.01)


def test_large_images_cost_what_the_release_says() -> None:
    """One 512 px crop: backbone 215, encoder 503, decoder 213, predictor 0.256; Table 3."""
    counted = cost('vitb-512')
    assert counted.encoder and counted.decoder
    assert counted.backbone.gflops == pytest.approx(215, rel=0.01)
    assert counted.encoder.gflops == pytest.approx(503, rel=0.01)
    assert counted.decoder.gflops == pytest.approx(213, rel=0.01)
    assert counted.predictor[0].gflops == pytest.approx(0.256, rel=0.01)
    assert counted.gflops() == pytest.approx(3.1e4, rel=0.02)


def test_frame_tokens_cost_what_the_paper_says() -> None:
    """Step 2 of Table 2."""
    assert cost('frame-token-256').gflops() == pytest.approx(6315, rel=0.01)


@pytest.mark.parametrize(('name', 'published', 'tolerance'), [
    ('dino-world-256', 959, 0.01), ('dino-world-best-of-many-256', 12013, 0.01),
    ('dino-world-512', 5.8e3, 0.01)])
def test_dino_world_costs_what_the_paper_says(
    name: str, published: float, tolerance: float,
) -> None:
    """Only with the attention of its predictor counted twice, and clearly not with once."""
    counted = cost(name)
    assert counted.report()['total_as_published'] == pytest.approx(published, rel=tolerance)
    assert counted.gflops() < 0.95 * published
    assert counted.encoder is None and counted.decoder is None


def test_parts_are_multiplied_by_how_often_they_run() -> None:
    """Context, steps, samples and crops enter as in the paper's formula."""
    counted = cost('vitb-256', context=3, steps=2, samples=5)
    report = counted.report()
    assert len(report['predictor_per_sample_and_step']) == 2
    expected = 2 * (
        3 * (report['backbone_per_frame'] + report['encoder_per_pair'])
        + 5 * (sum(report['predictor_per_sample_and_step'])
               + 2 * report['decoder_per_sample_and_step']))
    assert report['total'] == pytest.approx(expected)


def test_command_counts_a_configuration_of_a_file(tmp_path: Path) -> None:
    """The command prints and writes what the file's sizes cost."""
    file, out = tmp_path / 'small.yaml', tmp_path / 'cost.json'
    sizes = '{size: 64, heads: 1, layers: 2, mlp_size: 128}'
    file.write_text(f'backbone: {sizes}\ntokenizer: {sizes}\npredictor: {sizes}\n'
                    'image_width: 64\nimage_height: 32\ncrops: 1\n')
    result = CliRunner().invoke(app, [
        'benchmark', '--flops', '--configuration', str(file), '--samples', '2', '--json',
        str(out)])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    assert written['samples'] == 2 and written['crops'] == 1
    assert f'{written["total"]:.3f}' in result.output
    # A patch embedding of 8 patches, then two blocks over 13 tokens.
    block = 2 * 13 * 64 * (4 * 64 + 2 * 128) + 4 * 13 * 13 * 64
    assert written['backbone_per_frame'] * 1e9 == 2 * 8 * 64 * 768 + 2 * block


def test_command_counts_a_bundle(tmp_path: Path) -> None:
    """The shipped bundle's graphs are counted for its samples and futures."""
    out = tmp_path / 'cost.json'
    result = CliRunner().invoke(app, [
        'benchmark', '--flops', '--samples', '8', '--futures', '2', '--json', str(out)])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    parts = [written[part] for part in ('backbone', 'encoder', 'predictor', 'decoder')]
    assert written['total'] == pytest.approx(sum(parts)) and min(parts) > 0.0
    # EfficientNet-Lite0 is published with 0.407 G multiply-adds at 224 px, 0.021 of them in the
    # classifier, which has no place here.
    assert written['backbone'] == pytest.approx(2 * 0.386 * 320 * 192 / 224 ** 2, rel=0.1)


def test_wrong_configurations_are_told_in_one_line(tmp_path: Path) -> None:
    """Unknown names, unknown keys and sizes that do not fit."""
    with pytest.raises(UserError, match="'vitg-256' not found; .*vitb-256"):
        load_configuration('vitg-256')
    file = tmp_path / 'wrong.yaml'
    file.write_text('colour: 3\n')
    with pytest.raises(UserError, match='colour'):
        load_configuration(str(file))
    file.write_text('tokenizer: {size: 64, heads: 1}\n')
    with pytest.raises(UserError, match="64 of the tokenizer must be the backbone's, 768"):
        configuration_cost(load_configuration(str(file)))


def test_without_torch_the_command_says_what_to_install() -> None:
    """Torch is no part of the runtime."""
    program = (
        'import sys; sys.modules["torch"] = None\n'
        'from deltaworld_ros.cli import main\n'
        'sys.argv = ["deltaworld", "benchmark", "--flops"]\n'
        'main()')
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                            timeout=60, check=False)
    assert result.returncode == 1
    assert 'deltaworld_ros[export]' in result.stderr and 'torch' in result.stderr
    assert result.stderr.count('\n') == 1
