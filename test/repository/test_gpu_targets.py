# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `make gpu-*` runs on a GPU machine in one call is whole, as far as no GPU can tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deltaworld_training.runs.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import gpu_forecast  # noqa: E402


def make(target: str, *variables: str, folder: Path = ROOT) -> str:
    """Return the commands of a target as make would run them."""
    run = subprocess.run(
        ['make', '--dry-run', '--always-make', target, *variables], cwd=folder, text=True,
        capture_output=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize('target', ['gpu-test', 'gpu-benchmark', 'gpu-train'])
def test_a_target_needs_the_card_and_its_own_python_alone(target: str):
    commands = make(target, 'RECIPE=street-gpu-rendered')
    assert 'nvidia-smi' in commands
    # Neither .venv nor the registry's clips: a GPU machine may have no network.
    assert '.venv/bin' not in commands and 'pip' not in commands
    for line in commands.splitlines():
        for path in re.findall(r'\S+/\S+\.(?:py|yaml)\b', line):
            assert (ROOT / path).is_file(), path
    assert 'scripts/gpu_python' in commands


def test_training_takes_the_clips_where_the_recipe_names_them():
    assert '--videos runs/clips' in make('gpu-train', 'RECIPE=street-gpu')
    assert '--videos' not in make('gpu-train', 'RECIPE=street-gpu-rendered')


def test_the_rendered_recipe_is_the_recipe_without_videos():
    whole, rendered = load_recipe('street-gpu'), load_recipe('street-gpu-rendered')
    assert rendered.needed('data').videos == [] and rendered.needed('data').video_clips == 0
    for name in whole.stages:
        stage, other = whole.settings(name), rendered.settings(name)
        assert (stage.model, stage.trainer) == (other.model, other.trainer)
        for key in ('frames', 'batch', 'truth'):
            assert stage.data['init_args'].get(key) == other.data['init_args'].get(key)
        rendered_here = {'{run}/street', '{run}/junctions'}
        assert set(other.data['init_args']['folders']) <= rendered_here
    assert whole.forecast == rendered.forecast and whole.backbone == rendered.backbone


def test_the_wheels_are_pinned():
    pins = {re.split('[=;]', line)[0] for line in
            (ROOT / 'constraints.txt').read_text().splitlines()}
    wanted = {line for line in (ROOT / 'scripts/gpu_wheels.txt').read_text().splitlines()
              if not line.startswith('#')}
    assert 'pydantic' in wanted and wanted <= pins


def test_python_runs_with_the_wheels_and_no_network(tmp_path: Path):
    """As on a GPU machine without a network, whose Python has everything but the wheels."""
    (tmp_path / 'scripts').mkdir()
    shutil.copy(ROOT / 'scripts/gpu_python', tmp_path / 'scripts')
    source = tmp_path / 'source'
    source.mkdir()
    (source / 'pyproject.toml').write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "carried"\nversion = "1.0"\n'
        '[tool.setuptools]\npy-modules = ["carried"]\n')
    (source / 'carried.py').write_text('VALUE = 7\n')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
                    '--no-build-isolation', '--wheel-dir', tmp_path / 'gpu-wheels', source],
                   check=True, timeout=120)
    for _ in range(2):
        run = subprocess.run(
            [tmp_path / 'scripts/gpu_python', '-c',
             'import carried, torch, sys; print(carried.VALUE, *sys.argv[1:])', 'an argument'],
            env={'PYTHON': sys.executable, 'PATH': '/usr/bin:/bin'}, text=True,
            capture_output=True, timeout=120, check=False)
        assert run.stdout == '7 an argument\n', run.stderr
    assert not (tmp_path / '.venv-gpu').exists()


def test_work_is_that_of_the_references():
    """Per new frame: backbone and two pairs; per sample and step: a decoder (reference counts)."""
    with torch.device('meta'):
        networks = gpu_forecast.vit_networks(gpu_forecast.VIT_B)
    work = gpu_forecast.work(networks)
    assert work['observe'] == pytest.approx(215 + 2 * 503, rel=0.02)
    assert work['decode'] == pytest.approx(20 * 3 * 213, rel=0.02)
    assert work['total'] == pytest.approx(sum(work[p] for p in ('observe', 'rollout', 'decode')))


def test_an_engine_that_is_not_there_is_a_result(monkeypatch: pytest.MonkeyPatch):
    from deltaworld_ros.bundle import load_bundle
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    monkeypatch.setitem(sys.modules, 'tensorrt_rtx', None)
    monkeypatch.setitem(sys.modules, 'tensorrt_rtx_bindings', None)
    figures = gpu_forecast.measure('tensorrt', load_bundle('street-lite0'), 1, None)
    assert 'tensorrt' in figures['error']


@pytest.mark.skipif(torch.cuda.is_available(), reason='make gpu-benchmark does it on a GPU')
def test_the_benchmark_runs_without_a_gpu(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, ROOT / 'benchmarks/gpu_forecast.py', '--tiny', '--repetitions', '1',
         '--engines', 'onnxruntime-cpu', 'onnxruntime-cuda', '--output', tmp_path],
        capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stderr
    path, = tmp_path.glob('cpu-*.json')
    result = json.loads(path.read_text())
    assert result['matrix_tflops']['fp16'] > 0
    rows = {(row['bundle'], 'error' in row): row for row in result['measurements']}
    assert set(rows) == {('street-lite0', False), ('street-lite0', True), ('vit-fp16', False),
                         ('vit-fp16', True)}
    row = rows['vit-fp16', False]
    assert (row['num_samples'], row['num_futures'], row['leads']) == (20, 20, [0.2, 0.4, 0.6])
    assert row['tflops'] == pytest.approx(
        1e-3 * result['gflops']['total'] * row['forecasts_per_second'])
    assert row['share'] == pytest.approx(row['tflops'] / result['matrix_tflops']['fp16'])
