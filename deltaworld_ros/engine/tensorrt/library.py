# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find TensorRT: one API under three names."""

from __future__ import annotations

import importlib
from typing import Any

from deltaworld_ros.engine.interface import EngineUnavailable

# TensorRT, TensorRT-RTX as its own package, and its bindings alone.
MODULES = ('tensorrt', 'tensorrt_rtx', 'tensorrt_rtx_bindings')


def find_library() -> Any:
    """Import the first TensorRT there is; raise `EngineUnavailable` where there is none."""
    problems = []
    for name in MODULES:
        try:
            library = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                problems.append(f'{name} lacks {error.name}')
        # The bindings are there, the libraries they load are not or are of another version.
        except (ImportError, OSError, RuntimeError) as error:
            problems.append(f'{name}: {" ".join(str(error).split())[:200]}')
        else:
            if hasattr(library, 'Builder'):
                return library
            problems.append(f'{name} has no Builder')
    raise EngineUnavailable(
        '; '.join(problems) or f'none of the Python packages {", ".join(MODULES)} is installed '
        '(see docs/tensorrt.md)')


def library_name(library: Any) -> str:
    """Return name and version, such as `tensorrt_rtx 1.7.1.116`."""
    name = 'tensorrt_rtx' if is_rtx(library) else 'tensorrt'
    return f'{name} {library.__version__}'


def is_rtx(library: Any) -> bool:
    """Say whether engines are built ahead of time for stated GPUs, needing none to build."""
    return 'rtx' in library.__name__
