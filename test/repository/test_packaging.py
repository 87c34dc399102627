# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What pip and colcon install is complete, and every statement of the version agrees."""

from __future__ import annotations

import email
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

import deltaworld_ros

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    'deltaworld': 'deltaworld_ros.start:main',
    'forecast_node': 'deltaworld_ros.node.start:main',
    'speed_governor': 'deltaworld_ros.node.speed_governor:main',
}
# Python packages of setup.py whose rosdep key does not follow from their name.
ROSDEP_KEYS = {
    'onnxruntime': 'python3-onnxruntime-pip',
    'opencv-python-headless': 'python3-opencv',
    'pillow': 'python3-pil',
    'pyyaml': 'python3-yaml',
    'rosbags': 'python3-rosbags-pip',
}


def data_files() -> list[Path]:
    """Return the files besides Python code that the package needs at run time."""
    package = ROOT / 'deltaworld_ros'
    return [file.relative_to(ROOT) for file in sorted(package.rglob('*'))
            if file.is_file() and file.suffix not in ('.py', '.pyc')]


def shared_files() -> list[Path]:
    files = [*ROOT.glob('launch/*.launch.py'), *ROOT.glob('config/**/*'), ROOT / 'package.xml']
    return sorted(file.relative_to(ROOT) for file in files if file.is_file())


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sources, so that a build leaves nothing in the work tree."""
    folder = tmp_path_factory.mktemp('packaging') / 'deltaworld_ros'
    kept = ('deltaworld_ros', 'training', 'launch', 'config', 'resource')
    for name in kept:
        shutil.copytree(ROOT / name, folder / name,
                        ignore=shutil.ignore_patterns('__pycache__', '*.egg-info'))
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith('.'):
            shutil.copy(file, folder)
    return folder


def run(command: list[str], folder: Path, **environment: str) -> str:
    result = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, timeout=240,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope='module')
def wheel(source: Path) -> Path:
    run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
         '--wheel-dir', 'wheels', '.'], source)
    built, = source.glob('wheels/deltaworld_ros-*-py3-none-any.whl')
    return built


def test_the_training_wheel_has_its_recipes_and_its_entry_point(source: Path):
    run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
         '--wheel-dir', 'wheels', './training'], source)
    built, = source.glob('wheels/deltaworld_training-*-py3-none-any.whl')
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
        stem = f'deltaworld_training-{deltaworld_ros.__version__}'
        entry_points = archive.read(f'{stem}.dist-info/entry_points.txt').decode()
    recipes = (ROOT / 'training' / 'deltaworld_training').rglob('*.yaml')
    assert {file.relative_to(ROOT / 'training').as_posix() for file in recipes} <= names
    assert 'train = deltaworld_training.cli:app' in entry_points


@pytest.fixture(scope='module')
def requirements(wheel: Path) -> list[str]:
    """Return the wheel's requirements, those of the extras too, and those of training."""
    with zipfile.ZipFile(wheel) as archive:
        name = f'deltaworld_ros-{deltaworld_ros.__version__}.dist-info/METADATA'
        metadata = email.message_from_bytes(archive.read(name))
    training = importlib.metadata.requires('deltaworld_training') or []
    own = [line for line in training if not line.startswith('deltaworld_ros')]
    return metadata.get_all('Requires-Dist', []) + [f'{line}; extra == "train"' for line in own]


def package_of(requirement: str) -> str:
    return re.split(r'[^\w.-]', requirement)[0].lower().replace('_', '-')


def test_wheel_is_complete(wheel: Path):
    assert wheel.name.split('-')[1] == deltaworld_ros.__version__
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        stem = f'deltaworld_ros-{deltaworld_ros.__version__}'
        entry_points = archive.read(f'{stem}.dist-info/entry_points.txt').decode()
    for file in data_files():
        assert file.as_posix() in names
    share = f'{stem}.data/data/share'
    for file in shared_files():
        assert f'{share}/deltaworld_ros/{file.as_posix()}' in names
    assert f'{share}/ament_index/resource_index/packages/deltaworld_ros' in names
    assert 'deltaworld_ros/cli.py' in names
    # Robots get no training.
    assert not [name for name in names if name.startswith('deltaworld_training')]
    for name, target in SCRIPTS.items():
        assert f'{name} = {target}' in entry_points
    assert not [name for name in names if name.startswith('test') or '__pycache__' in name]


def test_colcon_installs_what_ros2_run_and_launch_need(source: Path, tmp_path: Path):
    colcon = Path(sys.executable).with_name('colcon')
    command = str(colcon) if colcon.exists() else shutil.which('colcon')
    assert command, 'colcon is missing: install the dev extra (make develop)'
    run([command, '--log-base', str(tmp_path / 'log'), 'build',
         '--base-paths', str(source), '--build-base', str(tmp_path / 'build'),
         '--install-base', str(tmp_path / 'install')],
        tmp_path, AMENT_PREFIX_PATH=os.environ.get('AMENT_PREFIX_PATH', sys.prefix))
    prefix = tmp_path / 'install' / 'deltaworld_ros'
    for name in SCRIPTS:
        assert os.access(prefix / 'lib' / 'deltaworld_ros' / name, os.X_OK)
    for file in shared_files():
        assert (prefix / 'share' / 'deltaworld_ros' / file).is_file()
    assert (prefix / 'share/ament_index/resource_index/packages/deltaworld_ros').is_file()
    for file in data_files():
        assert list(prefix.glob(f'lib/python3*/site-packages/{file.as_posix()}')), file
    assert list(prefix.glob('lib/python3*/site-packages/deltaworld_ros/__init__.py'))
    # Colcon must not take training/ for a package of its own.
    assert not list(tmp_path.glob('install/*training*'))
    assert not list(prefix.glob('lib/python3*/site-packages/deltaworld_training'))
    # The installed command runs from the installed copy, not from the work tree.
    packages, = prefix.glob('lib/python3*/site-packages')
    version = run([str(prefix / 'lib' / 'deltaworld_ros' / 'deltaworld'), '--version'], tmp_path,
                  PYTHONPATH=f'{packages}:{os.environ.get("PYTHONPATH", "")}')
    assert deltaworld_ros.__version__ in version


def test_entry_points_import():
    scripts = {entry.name: entry for entry in importlib.metadata.entry_points(
        group='console_scripts') if entry.value.startswith('deltaworld_ros.')}
    assert {name: entry.value for name, entry in scripts.items()} == SCRIPTS
    assert callable(scripts['deltaworld'].load())
    pytest.importorskip('rclpy', reason='the node needs rclpy')
    assert callable(scripts['forecast_node'].load())


def test_versions_agree():
    version = deltaworld_ros.__version__
    assert importlib.metadata.version('deltaworld_ros') == version
    assert importlib.metadata.version('deltaworld_training') == version
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert package.findtext('version') == version
    assert package.findtext('name') == 'deltaworld_ros'
    newest = re.search(r'^(\d+\.\d+\.\d+) \(', (ROOT / 'CHANGELOG.rst').read_text(), re.MULTILINE)
    assert newest and newest[1] == version


def test_rosdep_keys_cover_the_python_dependencies(requirements: list[str]):
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert package.get('format') == '3'
    assert package.findtext('export/build_type') == 'ament_python'
    keys = {element.text for element in package.iter() if element.tag.endswith('depend')}
    runtime = [package_of(line) for line in requirements if 'extra ==' not in line]
    assert 'numpy' in runtime
    assert {ROSDEP_KEYS.get(name, f'python3-{name}') for name in runtime} <= keys


def test_pins_cover_the_dependencies(requirements: list[str]):
    lines = (ROOT / 'constraints.txt').read_text().splitlines()
    pins = {line.split('==')[0] for line in lines if not line.startswith('#')}
    # NVIDIA's packages are not installed for the tests.
    wanted = {package_of(line) for line in requirements
              if not re.search('extra == .(tensorrt|quantise)', line)}
    assert {'numpy', 'torch', 'ros-jazzy-rclpy', 'pytest'} <= wanted <= pins


def test_shipped_bundles_are_small_enough():
    bundles = [one.parent for one in (ROOT / 'deltaworld_ros' / 'bundles').glob('*/bundle.yaml')]
    assert bundles
    for bundle in bundles:
        assert sum(file.stat().st_size for file in bundle.iterdir()) <= 24_000_000
