# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Messages of packages that no wheel has, made by rosidl and a compiler: bond, tf2 and Nav2's.

They are the real ones on the wire: the definitions are those of their packages.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

PACKAGES = {
    'bond': {
        'Status': 'std_msgs/Header header\nstring id\nstring instance_id\nbool active\n'
                  'float32 heartbeat_timeout\nfloat32 heartbeat_period\n',
        'Constants': 'float32 DEAD_PUBLISH_PERIOD = 0.05\n'
                     'float32 DEFAULT_CONNECT_TIMEOUT = 10.0\n'
                     'float32 DEFAULT_HEARTBEAT_TIMEOUT = 4.0\n'
                     'float32 DEFAULT_DISCONNECT_TIMEOUT = 2.0\n'
                     'float32 DEFAULT_HEARTBEAT_PERIOD = 1.0\n'
                     'string DISABLE_HEARTBEAT_TIMEOUT_PARAM=/bond_disable_heartbeat_timeout\n'},
    'tf2_msgs': {'TFMessage': 'geometry_msgs/TransformStamped[] transforms\n'},
    'nav2_msgs': {'SpeedLimit': 'std_msgs/Header header\nbool percentage\n'
                                'float64 speed_limit\n'},
}
_KNOWN = ('std_msgs', 'geometry_msgs', 'builtin_interfaces')
_WIRE = ('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')
_TYPE_SUPPORTS = ('rosidl_typesupport_c', *_WIRE)
# In a process of its own: the generators print, and look for one another by this environment.
_GENERATE = """
import sys
from pathlib import Path
from rosidl_generator_c.cli import GenerateC
from rosidl_generator_py.cli import GeneratePython
from rosidl_typesupport_c.cli import GenerateCTypesupport
from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
from rosidl_typesupport_fastrtps_cpp.cli import GenerateFastRTPSCppTypesupport
from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport
package, source, prefix, output, introspection, *names = sys.argv[1:]
wire = ['rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c']
for generator, folder in (
        (GenerateC(''), output),
        (GenerateCTypesupport('', typesupport_implementations=wire), output),
        (GenerateFastRTPSCTypesupport(''), output),
        (GenerateFastRTPSCppTypesupport(''), output),
        (GenerateIntrospectionCTypesupport(''), introspection),
        (GeneratePython('', typesupport_implementations=['rosidl_typesupport_c', *wire]),
         output)):
    generator.generate(package, [f'{source}:msg/{name}.msg' for name in names],
                       [f'{prefix}/share'], Path(folder))
"""


class CannotGenerate(Exception):
    """This machine lacks what making messages needs; the message says what."""


def missing_packages() -> list[str]:
    """Return those of `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def generate_messages(folder: Path) -> Path:
    """Make the packages that are missing; return the folder to import them from."""
    spec = importlib.util.find_spec('rosidl_generator_py')
    for need in ('gcc', 'g++'):
        if shutil.which(need) is None:
            raise CannotGenerate(f'{need} is not installed')
    if spec is None or not (Path(sys.prefix) / 'share' / 'rosidl_generator_py').is_dir():
        raise CannotGenerate('the generators of ROS are not installed as wheels')
    for package in missing_packages():
        _make(package, folder)
    return folder / 'site'


def _make(package: str, folder: Path) -> None:
    source, made, looks, objects = (
        folder / name / package for name in ('source', 'made', 'introspection', 'objects'))
    site = folder / 'site' / package
    parts = {  # by compiler and folder: files of different parts have the same names
        'gcc 1': [made / 'msg' / 'detail' / '*.c', made / 'msg' / '*_s.c'],
        'gcc 2': [looks / 'msg' / 'detail' / '*.c'],
        'g++ 1': [made / 'msg' / 'detail' / '*_c.cpp', made / 'msg' / '*.cpp']}
    for new in (source / 'msg', made, looks, site / 'msg', *(objects / part for part in parts)):
        new.mkdir(parents=True)
    for name, text in PACKAGES[package].items():
        (source / 'msg' / f'{name}.msg').write_text(text)
    _run([sys.executable, '-c', _GENERATE, package, str(source), sys.prefix, str(made),
          str(looks), *PACKAGES[package]], folder)
    prefix = Path(sys.prefix)
    includes = [f'-I{one}' for one in (
        made.parent, looks.parent, sysconfig.get_paths()['include'], np.get_include(),
        prefix / 'include', *(prefix / 'include').iterdir())]
    for part, patterns in parts.items():
        _run([part[:3], '-fPIC', *includes, '-c', *(
            str(file) for pattern in patterns for file in sorted(
                pattern.parent.glob(pattern.name)))], objects / part)
    libraries = [f'-L{prefix}/lib', f'-Wl,-rpath,{prefix}/lib', '-lrcutils', '-lrmw', '-lfastcdr',
                 '-lrosidl_runtime_c', '-lrosidl_typesupport_fastrtps_cpp', *(
                     f'-l{one}' for one in _TYPE_SUPPORTS), *(
                     f'-l{one}__{part}' for one in _KNOWN
                     for part in ('rosidl_generator_c', 'rosidl_generator_py', *_TYPE_SUPPORTS))]
    shared = ['gcc', '-fPIC', '-shared', *includes, '-Wl,--no-as-needed', f'-L{site}',
              '-Wl,-rpath,$ORIGIN']
    _run(['g++', '-shared', '-o', str(site / f'lib{package}.so'), *(
        str(file) for file in objects.glob('*/*.o')), *libraries], objects)
    # Type supports are looked up in libraries of these names, which must be loaded by then.
    for support in _WIRE:
        name = f'lib{package}__{support}.so'
        _run([*shared, f'-Wl,-soname,{name}', '-o', str(site / name), f'-l{package}'], objects)
    for support in _TYPE_SUPPORTS:
        _run([*shared, str(made / f'_{package}_s.ep.{support}.c'), '-o',
              str(site / f'{package}_s__{support}.so'), f'-l{package}', *(
                  f'-l{package}__{one}' for one in _WIRE), *libraries], objects)
    for file in (made / 'msg').glob('*.py'):
        shutil.copy(file, site / 'msg')
    (site / '__init__.py').touch()


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(
        words, cwd=folder, text=True, capture_output=True,
        env={**os.environ, 'AMENT_PREFIX_PATH': sys.prefix})
    if done.returncode:
        raise AssertionError(f'{words[0]} failed:\n{done.stderr[-3000:]}')
