# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands that train stages: recipes, overrides, logs, several processes, kill and resume."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from support.training_batches import BACKBONE, DELTA, HEADS, WORLD, save_heads, save_random

from deltaworld_ros.errors import UserError
from deltaworld_training.cli import app, main
from deltaworld_training.data.clip_data import ClipData
from deltaworld_training.data.open_source import SourceSettings
from deltaworld_training.runs.bundle_manifest import PARTS, network_sizes
from deltaworld_training.runs.recipe import RECIPES, load_recipe
from deltaworld_training.runs.stage import STAGES, run_stage, stage_config
from deltaworld_training.stages.store_data import StoreData

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.stem for path in RECIPES.glob('*.yaml'))
STEPS = 12


@pytest.mark.parametrize('command', [
    'benchmark vspw nowhere --bundle nothing --json', 'closed-loop --bundle nothing --markdown',
    'benchmark vspw nowhere --bundle nothing --markdown', 'diversity --bundle nothing --json',
    'diversity --bundle nothing --markdown', 'shards --kind bags --output shards --json'])
def test_outputs_are_checked_before_the_work(
        command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, 'argv', ['deltaworld train', *command.split(), str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    line = f'deltaworld: {tmp_path}: cannot be written: it is a folder, not a file'
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Write a recipe of three tiny stages on made batches."""
    backbone = save_random(tmp_path, 'backbone', BACKBONE)
    data = {'class_path': 'support.training_batches.TinyData', 'init_args': {'batch': 8}}
    trainer = {'max_steps': STEPS, 'accelerator': 'cpu', 'log_every_n_steps': 1,
               'precision': '32-true'}   # which is measured otherwise, so a busy machine decides
    stages: dict[str, Any] = {
        'tokenizer': {
            'stage': 'tokenizer', 'data': data, 'trainer': trainer | {'gradient_clip_val': 0.5},
            'model': {'tokenizer': DELTA, 'backbone': str(backbone), 'rate': 0.003}},
        'tokenizer-slow': {
            'stage': 'tokenizer', 'after': 'tokenizer', 'resume': True, 'model': {'rate': 1e-4},
            'trainer': {'max_steps': STEPS + 4}},
        'predictor': {
            'stage': 'predictor', 'data': data, 'trainer': trainer,
            'model': {'world': WORLD, 'tokenizer': '{run}/tokenizer-slow.safetensors',
                      'candidates': 6, 'token_noise': 0.1, 'rate': 0.001}},
        'heads': {
            'stage': 'heads', 'data': data, 'trainer': trainer,
            'model': {**HEADS, 'grid': [2, 4], 'rate': 0.02}},
    }
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump({'name': 'tiny', 'seed': 3, 'stages': stages}))
    return path


def train(*arguments: Any) -> None:
    """Run `deltaworld train` in this process, on one thread."""
    torch.set_num_threads(1)
    app([str(argument) for argument in arguments], standalone_mode=False)


def metrics(folder: Path, name: str, column: str = 'loss') -> dict[int, float]:
    """Return a logged column by step, of the last time that the stage ran."""
    path = sorted((folder / 'logs' / name).glob('*/metrics.csv'))[-1]
    with path.open() as file:
        return {int(row['step']): float(row[column]) for row in csv.DictReader(file)
                if row[column]}


def test_each_stage_trains_from_its_command(recipe: Path, tmp_path: Path) -> None:
    """Losses fall; weights, sizes, recipe, logs and pictures are there; nothing is redone."""
    run = tmp_path / 'run'
    train('tokenizer', '--recipe', recipe, '--output', run, '--pictures.every=6',
          '--model.rate=4e-3')
    train('predictor', '--recipe', recipe, '--output', run, '--pictures.every=6')
    train('heads', '--recipe', recipe, '--output', run)
    for name in ('tokenizer', 'predictor', 'heads'):
        losses = list(metrics(run, name).values())
        assert len(losses) == STEPS and sum(losses[-3:]) < sum(losses[:3])
        assert min(metrics(run, name, 'samples_per_second').values()) > 0.0
        assert list((run / 'tensorboard' / name).rglob('events.out.tfevents.*'))
    with safe_open(run / 'tokenizer.safetensors', 'pt') as file:
        metadata = file.metadata()
    assert json.loads(metadata['sizes']) == {'tokenizer': DELTA}
    kept = json.loads(metadata['recipe'])
    assert kept['trainer']['max_steps'] == STEPS and '--model.rate=4e-3' in kept['overrides']
    picture = cv2.imread(str(run / 'pictures' / 'predictor' / '0000006.png'))
    assert picture.shape == (4 * 2 * 8, 8 * 4 * 8, 3) and picture.std() > 10.0
    assert (run / 'pictures' / 'tokenizer' / '0000012.png').exists()
    before = (run / 'tokenizer.safetensors').stat().st_mtime_ns
    train('tokenizer', '--recipe', recipe, '--output', run, '--model.rate=4e-3')
    assert (run / 'tokenizer.safetensors').stat().st_mtime_ns == before
    with pytest.raises(UserError, match='model.rate: "4e-3" then, null now'):
        train('tokenizer', '--recipe', recipe, '--output', run)


def test_a_stage_goes_on_from_the_one_before(recipe: Path, tmp_path: Path) -> None:
    """A cooldown keeps optimiser and step, and takes its own lower rate."""
    run = tmp_path / 'run'
    train('tokenizer', '--recipe', recipe, '--output', run)
    assert list(metrics(run, 'tokenizer-slow')) == list(range(STEPS, STEPS + 4))
    first, last = (
        torch.load(run / 'checkpoints' / name / 'last.ckpt', weights_only=True)
        for name in ('tokenizer', 'tokenizer-slow'))
    rates = [c['optimizer_states'][0]['param_groups'][0]['lr'] for c in (first, last)]
    assert rates == [0.003, 1e-4]
    steps = [c['optimizer_states'][0]['state'][0]['step'].item() for c in (first, last)]
    assert steps == [STEPS, STEPS + 4]
    assert not any(name.startswith('backbone') for name in last['state_dict'])


@pytest.mark.parametrize('override, reason', [
    ('--model.rat=1', 'rat'), ('--model.rate=fast', 'rate'), ('--trainer.max_step=3', 'max_step'),
    ('--data.batch=7', 'divisible|batch')])
def test_wrong_overrides_are_one_clear_error(
    recipe: Path, tmp_path: Path, override: str, reason: str,
) -> None:
    """What Lightning's parser refuses is a user's mistake, not a traceback."""
    with pytest.raises(UserError, match=reason) as caught:
        run_stage(load_recipe(str(recipe)), 'heads', tmp_path / 'run',
                  [override, '--trainer.accumulate_grad_batches=2'])
    assert '\n' not in str(caught.value)


def test_unknown_stages_are_named(recipe: Path, tmp_path: Path) -> None:
    """A stage that the recipe lacks is refused with those that it has."""
    with pytest.raises(UserError, match='tokenizer-slow'):
        train('tokenizer', '--recipe', recipe, '--output', tmp_path / 'run', '--stage', 'other')
    broken = yaml.safe_load(recipe.read_text())
    broken['stages']['heads']['after'] = 'nothing'
    recipe.write_text(yaml.safe_dump(broken))
    with pytest.raises(UserError, match="'nothing' is no earlier stage"):
        load_recipe(str(recipe))


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_recipes_are_whole(name: str, tmp_path: Path) -> None:
    """Every stage of every recipe builds, its data too; weights stay on the meta device."""
    recipe = load_recipe(name)
    for stage, settings in recipe.stages.items():
        config = stage_config(recipe, stage, tmp_path)
        model = {key: value for key, value in config['model'].items()
                 if key not in ('initial', 'backbone') and '.safetensors' not in str(value)}
        # Fine-tuning takes the sizes from the weights that it starts from.
        sizes = network_sizes(load_recipe('street-cpu'))
        if config['model'].get('initial') is not None:
            for part in PARTS.get(settings.stage, ()):
                model.setdefault(part, sizes[part])
        if settings.stage == 'joint':   # which learns by trained heads
            model['heads'] = save_heads(tmp_path)
        with torch.device('meta'):
            built = STAGES[settings.stage](**model)
        assert sum(p.numel() for p in built.parameters()) > 0
        data = config['data']['init_args']
        if 'sources' in data:
            sources = [SourceSettings(**source) for source in data['sources']]
            assert ClipData(**data | {'sources': sources}).batch == data['batch']
        else:
            assert StoreData(**data).batch == data['batch']
        assert config['trainer']['max_steps'] > 0


def test_released_recipe_has_the_released_steps() -> None:
    """Four stages of the tokenizer, two of the predictor, with their rates and sizes."""
    recipe = load_recipe('vitb-released')
    found = [
        (settings.model['rate'], settings.trainer['max_steps'],
         settings.data['init_args']['size'][0], settings.resume)
        for settings in map(recipe.settings, recipe.stages)]
    assert found == [
        (1e-3, 1_000_000, 256, False), (1e-4, 500_000, 512, False), (1e-5, 550_000, 512, True),
        (1e-6, 600_000, 512, True), (1e-4, 300_000, 512, False), (1e-5, 305_000, 512, True)]
    assert all(s.data['init_args']['batch'] == 1024 for s in map(recipe.settings, recipe.stages))


def test_dino_world_recipe_has_the_papers_steps() -> None:
    """Steps (0) and (1) of Table 2 at 256 px, Table 3 at 512 px, each fine-tuned for 5k."""
    recipe = load_recipe('dino-world-paper')
    found = {
        name: (s.model['rate'], s.model['world']['learned_query'], s.model.get('candidates'),
               s.data['init_args']['size'][0], s.model['grid'][0], s.trainer['max_steps'],
               s.resume)
        for name, s in zip(recipe.stages, map(recipe.settings, recipe.stages), strict=True)}
    assert found == {
        'dino-world-256': (1e-4, True, None, 256, 16, 100_000, False),
        'dino-world-256-finetune': (1e-5, True, None, 256, 16, 105_000, True),
        'best-of-many-256': (1e-4, False, 16, 256, 16, 100_000, False),
        'best-of-many-256-finetune': (1e-5, False, 16, 256, 16, 105_000, True),
        'dino-world-512': (1e-4, True, None, 512, 32, 300_000, False),
        'dino-world-512-finetune': (1e-5, True, None, 512, 32, 305_000, True)}
    for settings in map(recipe.settings, recipe.stages):
        assert settings.model['decay'] == 'weights' and settings.model['weight_decay'] == 0.4
        assert settings.data['init_args']['batch'] == 1024


def command(recipe: Path, run: Path, *more: str) -> list[str]:
    """Return the arguments that train the predictor of a recipe elsewhere."""
    return ['-m', 'deltaworld_training.cli', 'predictor', '--recipe', str(recipe),
            '--output', str(run), *more]


def environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': f'{ROOT / "test"}', 'OMP_NUM_THREADS': '1'}


@pytest.fixture
def tokenized(recipe: Path, tmp_path: Path) -> Path:
    """Put the same tokenizer into the folders of three runs and train one predictor whole."""
    for name in ('whole', 'killed', 'two'):
        (tmp_path / name).mkdir()
        save_random(tmp_path / name, 'tokenizer', DELTA).rename(
            tmp_path / name / 'tokenizer-slow.safetensors')
    train(*command(recipe, tmp_path / 'whole')[2:], '--trainer.max_steps=40')
    return tmp_path


def test_killed_run_and_two_nodes_equal_the_unbroken_one(recipe: Path, tokenized: Path) -> None:
    """SIGKILL and resume give the same losses to the last bit; DDP gives them to rounding."""
    whole, killed, two = (tokenized / name for name in ('whole', 'killed', 'two'))
    process = subprocess.Popen(
        [sys.executable, *command(
            recipe, killed, '--trainer.max_steps=40', '--checkpoint.every_n_train_steps=7',
            '--data.pause=0.02')],
        env=environment(), stdout=subprocess.DEVNULL)
    checkpoint = killed / 'checkpoints' / 'predictor' / 'last.ckpt'
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / 'predictor.safetensors').exists()
    train(*command(recipe, killed)[2:], '--trainer.max_steps=40', '--data.pause=0.02')
    resumed, unbroken = metrics(killed, 'predictor'), metrics(whole, 'predictor')
    assert 7 <= min(resumed) and max(resumed) == 39
    assert all(unbroken[step] == loss for step, loss in resumed.items())
    expected = load_file(whole / 'predictor.safetensors')
    again = load_file(killed / 'predictor.safetensors')
    assert all(torch.equal(again[name], value) for name, value in expected.items())

    ranks = tokenized / 'ranks'
    ranks.mkdir()
    # Two torchruns of a process each, as on two machines, which meet at a port.
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    nodes = [subprocess.Popen(
        [sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc-per-node=1',
         f'--node-rank={rank}', '--master-addr=127.0.0.1', f'--master-port={port}',
         *command(recipe, two, '--trainer.max_steps=40', '--trainer.strategy=ddp',
                  '--trainer.devices=1', '--trainer.num_nodes=2', f'--data.ranks={ranks}')],
        env=environment(), stdout=subprocess.DEVNULL) for rank in range(2)]
    try:
        assert [node.wait(timeout=200) for node in nodes] == [0, 0]
    finally:
        for node in nodes:
            node.kill()
    assert sorted(path.name for path in ranks.iterdir()) == ['0-of-2', '1-of-2']
    divided = load_file(two / 'predictor.safetensors')
    assert all(torch.allclose(divided[name], value, atol=2e-5)
               for name, value in expected.items())
