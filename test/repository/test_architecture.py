# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dependencies point one way, and torch and rclpy stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What each part may import besides itself and `deltaworld_ros.errors`.
MAY_IMPORT = {
    'errors': set(),
    'model': set(),
    'bundle': set(),
    'camera': {'bundle'},
    'engine': {'bundle'},
    'export': {'model', 'bundle', 'engine'},
    'forecast': {'engine', 'bundle', 'camera'},
    'planning': {'forecast', 'camera', 'bundle'},
    'bags': {'camera', 'bundle'},
    'evaluate': {'bags', 'planning', 'forecast', 'camera', 'engine', 'bundle'},
    'node': {'evaluate', 'bags', 'planning', 'forecast', 'camera', 'engine', 'bundle'},
    'commands': {
        'node', 'evaluate', 'bags', 'planning', 'forecast', 'camera', 'engine', 'bundle',
        'export'},
    'cli': {'commands'},
    'start': {'cli'},
    'training': {
        'commands', 'evaluate', 'bags', 'planning', 'forecast', 'camera', 'engine', 'bundle',
        'export', 'model'},
}
# Of single modules besides: torch2trt converts networks where other engines run graphs.
MODULES_MAY_IMPORT = {'deltaworld_ros.engine.torch2trt_engine': {'export'}}
# Besides model/ and export/, which are torch throughout.
TORCH_MODULES = {
    'deltaworld_ros.engine.torch_engine', 'deltaworld_ros.engine.onnx_operators',
    'deltaworld_ros.engine.graph_cost', 'deltaworld_ros.engine.torch2trt_engine',
}
ROS_PACKAGES = {
    'ament_index_python', 'bondpy', 'builtin_interfaces', 'cv_bridge', 'diagnostic_msgs',
    'geometry_msgs', 'launch_ros', 'lifecycle_msgs', 'nav2_msgs', 'nav_msgs', 'rcl_interfaces',
    'rclpy', 'rosgraph_msgs', 'sensor_msgs', 'std_msgs', 'std_srvs', 'tf2_msgs', 'tf2_ros',
    'vision_msgs',
}


def source_files() -> list[Path]:
    return sorted([
        *(ROOT / 'deltaworld_ros').rglob('*.py'),
        *(ROOT / 'training' / 'deltaworld_training').rglob('*.py'),
    ])


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix('').parts
    parts = parts[1:] if parts[0] == 'training' else parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def part_of(module: str) -> str:
    """Name the folder of the package that a module belongs to; empty for the package itself."""
    if module.split('.')[0] == 'deltaworld_training':
        return 'training'
    return module.split('.')[1] if '.' in module else ''


def imported_modules(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and name of every import, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ''
            if node.level:
                package = [*file.relative_to(ROOT).parts[:-1], ''][:-node.level]
                module = '.'.join([*package, module]).removeprefix('training.').strip('.')
            if module == 'deltaworld_ros':
                # `from deltaworld_ros import engine` imports a part; a plain name is harmless.
                for alias in node.names:
                    is_part = (ROOT / 'deltaworld_ros' / alias.name).exists()
                    yield node.lineno, f'deltaworld_ros.{alias.name}' if is_part else module
            else:
                yield node.lineno, module


def test_imports_are_read_as_python_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    file = tmp_path / 'deltaworld_ros' / 'engine' / 'some.py'
    file.parent.mkdir(parents=True)
    (tmp_path / 'deltaworld_ros' / 'node').mkdir()
    file.write_text('from . import x\nfrom .a import y\nfrom ..node import z\n'
                    'from deltaworld_ros import node, __version__\n'
                    'def f():\n    import torch.nn\n')
    assert [module for _, module in imported_modules(file)] == [
        'deltaworld_ros.engine', 'deltaworld_ros.engine.a', 'deltaworld_ros.node',
        'deltaworld_ros.node', 'deltaworld_ros', 'torch.nn']


def test_every_part_is_known():
    parts = {part_of(module_name(file)) for file in source_files()} - {''}
    assert parts == set(MAY_IMPORT)


def test_dependencies_point_one_way():
    wrong = []
    for file in source_files():
        part = part_of(module_name(file))
        for line, module in imported_modules(file):
            if module.split('.')[0] not in ('deltaworld_ros', 'deltaworld_training'):
                continue
            target = part_of(module)
            may = MAY_IMPORT.get(part, set()) | MODULES_MAY_IMPORT.get(module_name(file), set())
            if target not in {'', 'errors', part, *may}:
                wrong.append(f'{file.relative_to(ROOT)}:{line}: {part} imports {module}')
    assert not wrong, '\n'.join(wrong)


def test_only_the_node_imports_ros():
    wrong = [
        f'{file.relative_to(ROOT)}:{line}: {module}'
        for file in source_files() if part_of(module_name(file)) != 'node'
        for line, module in imported_modules(file) if module.split('.')[0] in ROS_PACKAGES
    ]
    assert not wrong, '\n'.join(wrong)


def run_imports(modules: list[str], blocked: str) -> subprocess.CompletedProcess[str]:
    """Import modules in a fresh interpreter in which the packages `blocked` cannot be imported."""
    program = '\n'.join([
        'import importlib, sys',
        'class Refuse:',
        '    def find_spec(self, name, path=None, target=None):',
        f'        if name.partition(".")[0] in {blocked.split(",")!r}:',
        '            raise ModuleNotFoundError(f"{name} is blocked", name=name)',
        'sys.meta_path.insert(0, Refuse())',
        'for name in sys.argv[1:]:',
        '    importlib.import_module(name)',
    ])
    return subprocess.run([sys.executable, '-c', program, *modules], cwd=ROOT, timeout=120,
                          capture_output=True, text=True, check=False)


def package_modules() -> list[str]:
    return [module_name(file) for file in source_files()
            if part_of(module_name(file)) != 'training']


def test_runtime_imports_without_torch():
    modules = [module for module in package_modules()
               if part_of(module) not in ('model', 'export') and module not in TORCH_MODULES]
    assert 'deltaworld_ros.node.forecast_node' in modules
    pytest.importorskip('rclpy', reason='the node is among the modules and needs rclpy')
    result = run_imports(modules, blocked='torch,lightning,torchmetrics,transformers')
    assert result.returncode == 0, result.stderr


def test_package_imports_without_ros():
    pytest.importorskip('torch', reason='the networks are among the modules and need torch')
    modules = [module for module in package_modules() if part_of(module) != 'node']
    result = run_imports(modules, blocked=','.join(sorted(ROS_PACKAGES)))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('module', sorted(TORCH_MODULES))
def test_blocking_works(module: str):
    result = run_imports([module], blocked='torch')
    assert result.returncode != 0
    assert 'torch is blocked' in result.stderr
