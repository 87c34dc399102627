# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run one stage of a recipe by Lightning's command line, resumed where it stopped."""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus

from deltaworld_ros.bundle.manifest import sha256_of
from deltaworld_ros.errors import UserError
from deltaworld_training.data.description import check_description, fingerprint, keep_description
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.runs.recipe import Recipe
from deltaworld_training.stages.foresight import ForesightStage
from deltaworld_training.stages.heads import HeadsStage
from deltaworld_training.stages.joint import JointStage
from deltaworld_training.stages.painter import PainterStage
from deltaworld_training.stages.parts import read_recipe, save_parts
from deltaworld_training.stages.pictures import SamplePictures
from deltaworld_training.stages.precision import fastest_precision
from deltaworld_training.stages.predictor import PredictorStage
from deltaworld_training.stages.progress import StageProgress
from deltaworld_training.stages.spatial_predictor import SpatialPredictorStage
from deltaworld_training.stages.tokenizer import TokenizerStage

STAGES = {
    'tokenizer': TokenizerStage, 'joint': JointStage, 'predictor': PredictorStage,
    'dino-world': SpatialPredictorStage, 'foresight': ForesightStage, 'heads': HeadsStage,
    'painter': PainterStage}
# Settings of where and how long a stage runs, which do not change what it learns.
ELSEWHERE = {
    'trainer': ('accelerator', 'devices', 'num_nodes', 'strategy', 'max_time', 'precision',
                'accumulate_grad_batches', 'sync_batchnorm', 'log_every_n_steps'),
    'model': ('compile_blocks',),
}
# What Lightning warns of and what is meant to be so.
EXPECTED = (
    'LeafSpec', 'eval mode at the start of training', 'does not have many workers',
    'smaller than the logging interval', 'exists and is not empty', 'The dirpath has changed',
    "LightningCLI's args parameter", 'skip_none parameter',
)


class StageCli(LightningCLI):
    """Lightning's command line with the checkpoints and pictures of a run's folder."""

    def __init__(self, folder: Path, name: str, kind: str, arguments: Sequence[str]):
        """Parse a stage's settings and build its model, data and trainer."""
        self.folder = folder
        self.stage_name = name
        super().__init__(
            STAGES[kind], lightning.LightningDataModule, subclass_mode_data=True, run=False,
            save_config_callback=None, args=list(arguments),
            parser_kwargs={'exit_on_error': False, 'allow_abbrev': False},
            trainer_defaults={
                'use_distributed_sampler': False, 'log_every_n_steps': 50, 'logger': False,
                'enable_progress_bar': False, 'enable_model_summary': False,
                'num_sanity_val_steps': 0, 'max_epochs': -1, 'callbacks': [StageProgress(name)],
            })

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let `--checkpoint.*` and `--pictures.*` be set as everything else."""
        parser.add_lightning_class_args(ModelCheckpoint, 'checkpoint')
        parser.add_lightning_class_args(SamplePictures, 'pictures')
        parser.set_defaults({
            'checkpoint.dirpath': str(self.folder / 'checkpoints' / self.stage_name),
            'checkpoint.save_last': True, 'checkpoint.save_top_k': 0,
            'checkpoint.every_n_train_steps': 500,
            'pictures.folder': str(self.folder / 'pictures' / self.stage_name),
        })


def run_kind(
    recipe: Recipe, kind: str, only: str | None, folder: Path, videos: Path | None,
    overrides: Sequence[str],
) -> list[Path]:
    """
    Train a recipe's stages of one kind and return their files.

    Features that the recipe caches are made first where they are missing, but not by several
    processes at once.
    """
    names = recipe.names(kind)
    if only is not None and only not in names:
        raise UserError(f'--stage {only}: the recipe {recipe.name} has: {", ".join(names)}')
    if recipe.data is not None and int(
            os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', '1'))) == 1:
        from deltaworld_training.runs.bundle import BundleRun
        BundleRun(recipe, folder, videos).prepare()
    elif recipe.data is not None and not (folder / 'street' / 'done.npy').exists():
        raise UserError('cache the features first, in one process: deltaworld train features')
    return [
        run_stage(recipe, name, folder, overrides)
        for name in names if only in (None, name)]


def run_stage(
    recipe: Recipe, name: str, folder: Path, overrides: Sequence[str] = (),
) -> Path:
    """
    Train a stage of a recipe and return its safetensors file; a finished one is kept.

    `overrides` are arguments of Lightning's command line, for example
    `--trainer.max_steps=100`. A stage that was interrupted goes on from its last checkpoint.
    Raises `UserError` for settings that do not exist or do not fit, and for a finished or
    interrupted stage in the folder that was made with others.
    """
    path = folder / f'{name}.safetensors'
    settings = recipe.settings(name)
    config = stage_config(recipe, name, folder)
    described = stage_description(recipe, name, folder, overrides)
    if path.exists():
        check_description(read_recipe(path).get('description'), described, path)
        return path
    keep_description(
        folder / 'checkpoints' / name / 'description.json', without_length(described),
        folder / 'checkpoints' / name / 'last.ckpt')
    written = folder / 'configs' / f'{name}.yaml'
    written.parent.mkdir(parents=True, exist_ok=True)
    # The other processes of a run write the same at the same time.
    own = written.with_suffix(f'.{os.getpid()}.tmp')
    own.write_text(yaml.safe_dump(config, sort_keys=False))
    own.replace(written)
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in EXPECTED:
            warnings.filterwarnings('ignore', f'(?s).*{text}')
        cli = _cli(folder, name, settings.stage, ['--config', str(written), *overrides])
        trainer, stage = cli.trainer, cli.model
        trainer.loggers = [
            CSVLogger(folder / 'logs', name), TensorBoardLogger(folder / 'tensorboard', name)]
        trainer.fit(stage, cli.datamodule, ckpt_path=_checkpoint(settings, name, folder),
                    weights_only=True)
    if trainer.state.status != TrainerStatus.FINISHED:
        raise SystemExit(1)
    # A later stage may go on from the very last step.
    trainer.save_checkpoint(folder / 'checkpoints' / name / 'last.ckpt')
    state = stage.learned(trainer.strategy.lightning_module_state_dict())
    if trainer.is_global_zero:
        save_parts(path, state, stage.sizes, {
            **config, 'overrides': list(overrides), 'description': described})
    trainer.strategy.barrier()
    return path


def stage_description(
    recipe: Recipe, name: str, folder: Path, overrides: Sequence[str],
) -> dict[str, Any]:
    """
    Return what decides a stage's result: its settings, and the files of the run that it reads.

    Where it runs (devices, checkpoints, pictures, a time limit) does not count.
    """
    config = stage_config(recipe, name, Path('{run}'))
    for section, keys in ELSEWHERE.items():
        config[section] = {
            key: value for key, value in config.get(section, {}).items() if key not in keys}
    given = dict(item.removeprefix('--').partition('=')[::2] for item in overrides)
    decisive = {
        key: value.replace(str(folder), '{run}') for key, value in given.items()
        if key.split('.')[0] in ('model', 'data', 'trainer', 'seed_everything')
        and key.split('.')[-1] not in ELSEWHERE.get(key.split('.')[0], ())}
    inputs = {}
    for text in sorted({*_texts(config), *_texts(decisive)}):
        for used in re.findall(r'\{run\}/[\w.-]+', text):
            path = folder / used.removeprefix('{run}/')
            if (path / 'features.npy').is_file():
                inputs[used] = FeatureStore(path).digest
            elif path.is_file():
                inputs[used] = sha256_of(path)[:16]
        if text.endswith('.safetensors') and Path(text).is_file():
            inputs[text] = fingerprint(Path(text))
    return {**config, 'overrides': decisive, 'inputs': inputs}


def without_length(described: dict[str, Any]) -> dict[str, Any]:
    """Leave out how long a stage trains: an interrupted one may go on for longer."""
    return {
        **described,
        'trainer': {key: value for key, value in described['trainer'].items()
                    if key != 'max_steps'},
        'overrides': {key: value for key, value in described['overrides'].items()
                      if key != 'trainer.max_steps'}}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def stage_config(recipe: Recipe, name: str, folder: Path) -> dict[str, Any]:
    """Return the settings of a stage as Lightning's command line takes them."""
    settings = recipe.settings(name)
    model, data = dict(settings.model), dict(settings.data)
    model.setdefault('seed', recipe.seed)
    data['init_args'] = {'seed': recipe.seed, **data.get('init_args', {})}
    if settings.after is not None and not settings.resume:
        model.setdefault('initial', [f'{{run}}/{settings.after}.safetensors'])
    trainer = dict(settings.trainer)
    trainer.setdefault('precision', fastest_precision())
    config = {'seed_everything': recipe.seed, 'model': model, 'data': data, 'trainer': trainer}
    return _placed(config, str(folder))


def _placed(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        return value.replace('{run}', folder)
    if isinstance(value, list):
        return [_placed(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: _placed(item, folder) for key, item in value.items()}
    return value


def _cli(folder: Path, name: str, kind: str, arguments: list[str]) -> StageCli:
    try:
        return StageCli(folder, name, kind, arguments)
    except (ArgumentError, ValueError, TypeError) as error:
        # Its first line names the argument; the rest repeats the parser's state.
        text = ' '.join(str(error).split())[:300]
        raise UserError(f'stage {name}: {text}') from None


def _checkpoint(settings: Any, name: str, folder: Path) -> Path | None:
    """Return where the stage goes on: its own last checkpoint, or that of the one before."""
    own = folder / 'checkpoints' / name / 'last.ckpt'
    if own.exists():
        return own
    if settings.resume:
        before = folder / 'checkpoints' / str(settings.after) / 'last.ckpt'
        if not before.exists():
            raise UserError(f'stage {name}: goes on from {before}, which does not exist')
        return before
    return None
