# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images twice as wide as high go through conversion, export, parity and the node's forecaster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.released_files import write_tiny_release
from support.tiny_bundle import fading_frames
from typer.testing import CliRunner

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.cli import app
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster

# The exporter takes minutes where others use the processor too.
pytestmark = pytest.mark.timeout(1200)


def run(*arguments: object) -> str:
    """Run a command that must succeed; give what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope='module')
def converted(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Convert files in the released layout at 128 x 64 pixels, a grid of 8 x 4."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp('wide')
    files = write_tiny_release(folder / 'release', layers=1)
    run('convert', '--tokenizer', files['tokenizer'], '--tokens', 'delta',
        '--predictor', files['predictor'], '--backbone', files['backbone'],
        '--seg-head', files['cityscapes'], '--depth-head', files['depth'],
        '--size', '128x64', '--output', folder / 'bundle')
    return load_bundle(folder / 'bundle')


@pytest.fixture(scope='module')
def exported(converted: Bundle) -> Bundle:
    """Export it in half precision, larger, with two leads 0.1 s apart."""
    output = converted.path.parent / 'half'
    run('export', converted.path, '--precision', 'fp16', '--size', '192x96', '--stride', '0.1',
        '--steps', '2', '--samples', '32', '--futures', '4', '--output', output)
    run('bundle', 'verify', output)
    return load_bundle(output)


def test_the_manifest_tells_size_and_leads(exported: Bundle) -> None:
    m = exported.manifest
    assert (m.image_width, m.image_height) == (192, 96)
    assert (m.feature_columns, m.feature_rows) == (12, 6)
    assert (m.map_width, m.map_height) == (96, 48)
    assert len(m.temperatures) == m.steps + 1
    assert (m.stride, m.leads) == (0.1, (0.1, 0.2))
    assert (m.num_samples, m.num_futures) == (32, 4)


def test_one_token_stands_for_the_whole_width(exported: Bundle) -> None:
    """A forecast has one chain of tokens, and every future is one picture without a seam."""
    m = exported.manifest
    engine = load_engine(exported, 'onnxruntime', threads=1)
    forecaster = Forecaster(engine, m)
    for index, frame in enumerate(fading_frames(m, 5)):
        forecaster.observe(frame, 0.1 * index)
    tokens, weights, _ = forecaster.sample_futures()
    assert tokens.shape == (4, 2, m.token_size) and weights.shape == (4,)
    forecast = forecaster.forecast()
    assert forecast.leads == (0.0, 0.1, 0.2)
    assert forecast.fused_labels.shape == (3, 48, 96)
    assert forecast.labels is not None and forecast.labels.shape == (4, 2, 48, 96)
    assert np.isfinite(forecast.fused_depth).all()
    engine.close()


def test_what_is_seen_at_one_side_reaches_the_other(exported: Bundle) -> None:
    """Attention spans the width: two squares side by side would not know of each other."""
    engine = load_engine(exported, 'onnxruntime', threads=1)
    frame = fading_frames(exported.manifest, 1)[0]
    other = frame.copy()
    other[:, 96:] = 255 - other[:, 96:]
    left = [engine.features_to_host(engine.observe(image, None)[0]).reshape(6, 12, -1)[:, :6]
            for image in (frame, other)]
    engine.close()
    assert np.abs(left[0] - left[1]).max() > 1e-2


@pytest.mark.parametrize(('option', 'value', 'accepted'), [
    ('--stride', '0.0', '0.01 to 60'), ('--stride', '61.0', '0.01 to 60'),
    ('--steps', '65', '1 to 64'), ('--futures', '257', '1 to 256'),
    ('--samples', '0', '1 to 65536')])
def test_values_out_of_range_are_refused_by_name(
        tmp_path: Path, option: str, value: str, accepted: str) -> None:
    result = CliRunner().invoke(
        app, ['export', 'street-lite0', '--output', str(tmp_path / 'new'), option, value])
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f'{option} {value}: must be {accepted}'
    assert not (tmp_path / 'new').exists()


def test_a_stride_that_is_no_number_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ['export', 'street-lite0', '--output', str(tmp_path / 'new'), '--stride', 'nan'])
    assert result.exit_code == 2
    assert "Invalid value for '--stride': nan is not a number" in result.output
    assert not (tmp_path / 'new').exists()


def test_more_futures_than_samples_are_refused_before_the_export(
        converted: Bundle, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ['export', str(converted.path), '--output', str(tmp_path / 'new'),
              '--samples', '4', '--futures', '5'])
    assert isinstance(result.exception, UserError)
    assert 'num_futures: must be at most num_samples (4)' in str(result.exception)
    assert not (tmp_path / 'new').exists()
