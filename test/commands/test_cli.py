# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: help, results, and one clear line for every mistake."""

from __future__ import annotations

import builtins
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.bags import START, image_message, write_bag, write_drive
from support.tiny_bundle import fading_frames, write_tiny_bundle

from deltaworld_ros import __version__, cli
from deltaworld_ros.bundle import load_bundle, write_manifest
from deltaworld_ros.commands.bundle import bundle_app
from deltaworld_ros.commands.shared import no_nan
from deltaworld_ros.errors import mistakes_in_one_line
from deltaworld_ros.evaluate.column_names import COLUMN_MEANINGS, COLUMN_TITLES
from deltaworld_ros.evaluate.tables import STAR_MEANING

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (['demo'], ['evaluate'], ['replay'], ['benchmark'], ['bundle', 'verify'],
            ['bundle', 'info'], ['bundle', 'build'])


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process; give exit code, output and errors."""
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', ['deltaworld', *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err
    return call


@pytest.fixture
def drive(tiny_bundle: Path, tmp_path: Path) -> Path:
    frames = fading_frames(load_bundle(tiny_bundle).manifest, 16)
    return write_drive(tmp_path / 'drive', frames, interval=0.2, focal_length=64.0)


@pytest.mark.parametrize('command', COMMANDS, ids=' '.join)
def test_help_shows_an_example(run, command: list[str]):
    code, printed, _ = run(*command, '--help')
    assert code == 0
    assert f'Example: deltaworld {" ".join(command)}' in ' '.join(printed.split())


def test_version_and_no_arguments(run):
    assert run('--version')[:2] == (0, f'{__version__}\n')
    assert 'evaluate' in run('--help')[1]


def test_evaluate_prints_and_writes_everything(run, tiny_bundle, drive, tmp_path):
    code, printed, errors = run(
        'evaluate', drive, drive, '--bundle', tiny_bundle, '--json', tmp_path / 'new/s.json',
        '--markdown', tmp_path / 'table.md', '--report', tmp_path / 'report', '--threads', 1)
    assert code == 0, errors
    rows = {name: title for name, title in COLUMN_TITLES.items() if name != 'ego_motion'}
    for word in ('0.2 s ahead', '0.6 s ahead', *rows.values(), *(
            f'{title}: {COLUMN_MEANINGS[name]}' for name, title in rows.items()),
            STAR_MEANING, 'vehicle IoU', 'skill in features, 0.6 s ahead: '):
        assert word in ' '.join(printed.split())
    # Every heading is whole in a terminal of 80 columns.
    assert '…' not in printed and max(map(len, printed.splitlines()[:20])) <= 80
    scores = json.loads((tmp_path / 'new/s.json').read_text())
    assert scores['forecasts'] == 20
    table = (tmp_path / 'table.md').read_text()
    value = scores['leads']['0.6']['miou']['fused']
    row = next(line for line in table.split('0.6 s ahead')[1].splitlines()
               if line.startswith('| published forecast (fused) |'))
    assert f' {value:.3f} ' in row
    report = (tmp_path / 'report/report.html').read_text()
    assert report.count('data:image/') > 20 and 'best of 20' in report


def test_evaluate_fails_under_a_limit(run, tiny_bundle, drive, tmp_path):
    arguments = ['evaluate', drive, '--bundle', tiny_bundle, '--threads', 1, '--json',
                 tmp_path / 's.json', '--json-lines', tmp_path / 's.jsonl', '--profile']
    code, printed, errors = run(*arguments, '--fail-under', 'miou=1.01')
    assert code == 1 and 'miou of the published forecast, 0.6 s ahead, is' in errors
    assert 'in the graphs: observe' in ' '.join(printed.split())
    assert len((tmp_path / 's.jsonl').read_text().splitlines()) == 10
    assert run(*arguments, '--fail-under', 'miou=0')[0] == 0
    code, _, errors = run(*arguments, '--fail-under', 'beauty=1')
    assert code == 1 and 'must be NAME=NUMBER' in errors


def test_evaluate_compares_two_bundles_on_the_same_frames(run, tiny_bundle, drive, tmp_path):
    arguments = ['evaluate', drive, '--bundle', tiny_bundle, '--threads', 1]
    code, printed, errors = run(*arguments, '--against', 'street-lite0', '--json',
                                tmp_path / 's.json', '--markdown', tmp_path / 'table.md')
    assert code == 0, errors
    scores = json.loads((tmp_path / 's.json').read_text())
    other = scores['against']
    assert other['bundle'] == 'street-lite0' and other['forecasts'] == scores['forecasts']
    value = (scores['leads']['0.6']['feature_error']['fused']
             - other['leads']['0.6']['feature_error']['fused'])
    table = (tmp_path / 'table.md').read_text()
    row = next(line for line in table.split('0.6 s ahead, differences')[1].splitlines()
               if line.startswith('| published forecast (fused) |'))
    assert value != 0 and f' {value:+.3f} ' in row
    assert f'{value:+.3f}' in printed
    assert run(*arguments, '--against', tiny_bundle)[1].count('+0.000') > 20


def test_evaluate_compares_what_both_bundles_have(run, tiny_bundle, drive, tmp_path):
    bare = tmp_path / 'bare'
    shutil.copytree(tiny_bundle, bare)
    (bare / 'baselines.npz').unlink()
    write_manifest(bare, load_bundle(tiny_bundle).manifest)
    arguments = ['evaluate', drive, '--bundle', tiny_bundle, '--threads', 1, '--markdown',
                 tmp_path / 'table.md']
    code, _, errors = run(*arguments, '--against', bare)
    assert code == 0, errors
    values, differences = (tmp_path / 'table.md').read_text().split('| 0.2 s ahead, differences')
    assert '| fitted blur' in values and '| fitted blur' not in differences
    assert '| published forecast' in differences
    farther = tmp_path / 'farther'
    write_tiny_bundle(farther, stride=0.3)
    code, _, errors = run(*arguments, '--against', farther)
    assert code == 1
    assert 'its leads [0.3, 0.6, 0.9] s are not the leads [0.2, 0.4, 0.6] s' in errors


@pytest.mark.parametrize(('arguments', 'message'), [
    (['evaluate', 'nowhere', '--bundle', 'BUNDLE'], 'nowhere: there is no such bag'),
    (['evaluate', 'BAG', '--bundle', 'nothing'], "bundle 'nothing': neither a folder nor"),
    (['evaluate', 'BAG', '--bundle', 'BUNDLE', '--against', 'x'], "bundle 'x': neither"),
    (['evaluate', 'BAG', '--bundle', 'BUNDLE', '--engine', 'abacus'], "engine 'abacus'"),
    (['evaluate', 'BAG', '--bundle', 'BUNDLE', '--image', '/none'], "no topic '/none'"),
    (['evaluate', 'BAG', '--bundle', 'BUNDLE', '--futures', '99'], 'num_futures 99'),
    (['evaluate', 'BAG', '--bundle', 'BUNDLE', '--json', '/proc/none/x'], 'cannot be written'),
    (['replay', 'nowhere'], 'nowhere: there is no such bag'),
    *((['replay', 'BAG', '--rate', rate], f'rate {rate}: must be a number from 0.001 to 1000')
      for rate in ('0', '-1', 'inf', '1e-300')),
    (['replay', 'nowhere', '--view'], 'nowhere: there is no such bag'),
    (['replay', 'BAG', '--view', '--rate', '0'], 'rate 0: must be a number from 0.001 to 1000'),
    *((['evaluate', 'BAG', '--bundle', 'BUNDLE', '--horizon', horizon],
       f'--horizon {horizon}: must be from 0.6 to 12.8 s') for horizon in ('inf', '0.1')),
    (['evaluate', 'BAG', '--bundle', 'BUNDLE', '--json', 'same', '--markdown', 'same'],
     'same: is named for two results'),
    (['demo', '--bundle', 'nothing'], "bundle 'nothing'"),
    (['demo', '--bundle', 'BUNDLE', '--bag', 'nowhere'], 'nowhere: there is no such bag'),
    (['bundle', 'info', 'nothing'], "bundle 'nothing'"),
    (['benchmark', '--bundle', 'nothing'], "bundle 'nothing'"),
])
def test_a_mistake_is_one_line(run, tiny_bundle, drive, arguments, message):
    places = {'BUNDLE': tiny_bundle, 'BAG': drive}
    code, _, errors = run(*[places.get(word, word) for word in arguments])
    last = errors.strip().splitlines()[-1]
    assert code == 1
    assert last.startswith('deltaworld: ') and message in last
    assert 'Traceback' not in errors


@pytest.mark.parametrize(('work', 'line'), [
    (lambda: Path('/proc/none').write_text('x'), '/proc/none: No such file or directory'),
    (lambda: Path('/dev/full').write_text('x'), 'No space left on device'),
    (lambda: np.zeros(2**50), 'too little memory: Unable to allocate')])
def test_errors_of_the_machine_are_one_line(capsys, work: Callable[[], object], line: str):
    with pytest.raises(SystemExit) as stop, mistakes_in_one_line():
        work()
    [said] = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and said.startswith('deltaworld: ') and line in said
    with pytest.raises(KeyError), mistakes_in_one_line():   # one of ours
        dict[str, str]()['x']


@pytest.mark.parametrize(('output', 'said'), [
    ('/dev/full', 'deltaworld: [Errno 28] No space left on device\n'), ('pipe', '')])
def test_output_that_cannot_be_written(output: str, said: str):
    """Into a full disk, and into a pipe from which nobody reads any more, as after `head -1`."""
    if output == 'pipe':
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, '-m', 'deltaworld_ros.start', '--version'], stdout=writer, text=True,
        stderr=subprocess.PIPE, timeout=300, env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, said)


def test_no_option_takes_nan():
    """It passes every comparison with limits."""
    training = importlib.import_module('deltaworld_training.cli')
    commands = [command.callback for app in (cli.app, bundle_app, training.app)
                for command in app.registered_commands]
    seen = set()
    for command in commands:
        for name, hint in typing.get_type_hints(command, include_extras=True).items():
            kind, *options = typing.get_args(hint) or [None]
            if float in (kind, *typing.get_args(kind)):
                seen.add((command.__name__, name))
                assert options[0].callback is no_nan, (command, name)
    assert {('replay', 'rate'), ('evaluate', 'horizon'), ('world', 'seconds')} <= seen


@pytest.mark.parametrize('arguments', [
    ['evaluate'], ['evaluate', 'x', '--every', '0'], ['replay', 'x', '--stamp', 'later'],
    # More would take the memory of the machine.
    ['evaluate', 'x', '--samples', '100000000'], ['evaluate', 'x', '--futures', '1000'],
    ['evaluate', 'x', '--threads', '100000'], ['evaluate', 'x', '--seed', '-1'],
    ['replay', 'x', '--wait', 'nan'],
    ['unknown']])
def test_wrong_usage_is_told(run, arguments):
    code, _, errors = run(*arguments)
    assert code == 2
    assert 'Usage' in errors and 'Traceback' not in errors


def test_several_cameras_cannot_be_renamed_to_one(run, tmp_path):
    image = image_message(START, np.zeros((4, 4, 3), np.uint8))
    bag = write_bag(tmp_path / 'bag', [('/a/image', START, image), ('/b/image', START, image)])
    code, _, errors = run('replay', bag, '--image-topic', '/image')
    assert code == 1
    assert '2 topics cannot be renamed to /image; choose one with --image: /a/image' in errors


def test_benchmark(run, tiny_bundle, tmp_path):
    code, printed, _ = run('benchmark', '--bundle', tiny_bundle, '--repetitions', 5, '--samples',
                           16, '--json', tmp_path / 'speed.json')
    assert code == 0
    assert 'forecasts per second' in printed
    speed = json.loads((tmp_path / 'speed.json').read_text())
    medians = speed['median_ms']
    assert list(medians) == ['observe', 'rollout', 'select', 'decode', 'total']
    parts = sum(medians[stage] for stage in list(medians)[:-1])
    assert 0 < parts == pytest.approx(medians['total'], rel=0.5)
    assert speed['forecasts_per_second'] == pytest.approx(1000 / medians['total'])
    assert (speed['num_samples'], speed['repetitions']) == (16, 5)


def test_bundle_info(run, tiny_bundle, tmp_path):
    code, printed, _ = run('bundle', 'info', tiny_bundle, '--json', tmp_path / 'info.json')
    assert code == 0
    assert 'vehicle (dynamic)' in printed and 'Apache-2.0' in printed
    assert json.loads((tmp_path / 'info.json').read_text())['name'] == 'tiny'


def test_bundle_verify(run, tiny_bundle, tmp_path):
    code, printed, _ = run('bundle', 'verify', tiny_bundle, '--json', tmp_path / 'verify.json')
    assert code == 0
    assert 'correct' in printed
    outcomes = {result['outcome'] for result in
                json.loads((tmp_path / 'verify.json').read_text())['engines'].values()}
    assert 'correct' in outcomes and outcomes <= {'correct', 'not here'}


@pytest.mark.parametrize('command', ['info', 'verify'])
def test_bundle_commands_take_the_shipped_bundle(run, command):
    code, printed, errors = run('bundle', command)
    assert code == 0, errors
    assert 'street-lite0' in printed


MARKUP = '[/wrong] :smile: [bold'


def test_names_are_printed_as_they_are(run, tiny_bundle, tmp_path):
    """Rich's markup in a bundle, a path or a recording is no markup."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / '[bold]x[/nope]'))
    old = load_bundle(bundle).manifest
    classes = [old.classes[0].model_copy(update={'name': MARKUP}), *old.classes[1:]]
    write_manifest(bundle, old.model_copy(update={'classes': classes, 'description': MARKUP}))
    code, printed, errors = run('bundle', 'info', bundle)
    assert code == 0, errors
    assert printed.count(MARKUP) == 2
    assert run('bundle', 'verify', bundle)[0] == 0
    drive = write_drive(tmp_path / f'drive {MARKUP}'.replace('/', ''), fading_frames(old, 12),
                        interval=0.2, focal_length=64.0)
    code, printed, errors = run(
        'evaluate', drive, drive, '--bundle', bundle, '--threads', 1, '--max-forecasts', 2,
        '--report', tmp_path / '[/report]', '--markdown', tmp_path / 'table.md')
    assert code == 0, errors
    assert '[/report]/report.html' in printed
    assert run('replay', drive, '--rate', 100)[0] == 0


def test_json_takes_its_place_when_it_is_whole(run, tiny_bundle, tmp_path, monkeypatch):
    path = tmp_path / 'info.json'
    path.write_text('before')

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr('pathlib.Path.replace', full)
    code, _, errors = run('bundle', 'info', tiny_bundle, '--json', path)
    assert code == 1 and 'info.json: cannot be written: No space left on device' in errors
    assert path.read_text() == 'before' and list(tmp_path.iterdir()) == [path]


def test_bundle_verify_finds_a_changed_file(run, tmp_path):
    bundle = write_tiny_bundle(tmp_path / 'bundle')
    with (bundle / 'decode.onnx').open('ab') as file:
        file.write(b'x')
    code, _, errors = run('bundle', 'verify', bundle)
    assert code == 1 and 'decode.onnx' in errors and 'sha256' in errors


def test_bundle_verify_finds_an_engine_that_computes_otherwise(run, tmp_path):
    from deltaworld_ros.bundle import write_manifest
    bundle = write_tiny_bundle(tmp_path / 'bundle')
    manifest = load_bundle(bundle).manifest
    with np.load(bundle / 'golden.npz') as archive:
        golden = dict(archive)
    golden['features'] = golden['features'][:, ::-1]
    np.savez(bundle / 'golden.npz', **golden)
    write_manifest(bundle, manifest)
    code, printed, errors = run('bundle', 'verify', bundle)
    assert code == 1
    assert 'wrong' in printed
    assert 'does not reproduce the golden outputs' in errors


def test_train_is_forwarded(run):
    code, printed, _ = run('train', '--help')
    assert code == 0
    assert 'deltaworld train' in printed and 'world' in printed


def test_train_without_its_package_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(importlib.metadata, 'entry_points', lambda **_: ())
    code, _, errors = run('train', 'world')
    assert code == 1
    assert 'which is not installed' in errors and 'pip install ./training' in errors


def test_train_without_a_module_says_which(run, monkeypatch):
    def missing(self):
        raise ModuleNotFoundError("No module named 'torch'", name='torch')
    monkeypatch.setattr(importlib.metadata.EntryPoint, 'load', missing)
    code, _, errors = run('train', 'world')
    assert code == 1
    assert 'needs the module torch' in errors and 'pip install ./training' in errors


def test_replay_without_ros_says_what_to_install(run, drive, monkeypatch):
    original = builtins.__import__

    def without_rclpy(name: str, *rest, **more):
        if name.partition('.')[0] == 'rclpy':
            raise ImportError("No module named 'rclpy'")
        return original(name, *rest, **more)
    monkeypatch.setattr(builtins, '__import__', without_rclpy)
    monkeypatch.setattr(importlib, 'import_module', without_rclpy)
    code, _, errors = run('replay', drive)
    assert code == 1
    assert 'deltaworld_ros[ros]' in errors


def test_the_command_imports_neither_torch_nor_ros():
    code = ('import sys, deltaworld_ros.cli, deltaworld_ros.evaluate.demo, '
            'deltaworld_ros.evaluate.evaluator; '
            'print({"torch", "rclpy"} & set(sys.modules))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'
