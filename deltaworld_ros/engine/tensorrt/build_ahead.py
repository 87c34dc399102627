# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fill the cache of engines before anything is to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine.interface import EngineUnavailable
from deltaworld_ros.engine.tensorrt.build import build_engines, plan_path, rtx_target
from deltaworld_ros.engine.tensorrt.build_progress import Progress
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.library import find_library, is_rtx, library_name
from deltaworld_ros.errors import UserError


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the cache; `size` is in bytes."""

    graph: str
    capability: str
    library: str
    path: Path
    size: int


def build_ahead(
        bundle: Bundle, capabilities: Sequence[str], log: Callable[[str], None],
        progress: Progress,
) -> list[BuiltEngine]:
    """
    Build the engines of a bundle for compute capabilities, or for this machine's GPU if none.

    Those that are in the cache are not built again. Raise `UserError` where that cannot be done.
    """
    try:
        library = find_library()
        targets = _targets(library, capabilities)
        built = []
        # One capability at a time: an engine for several is another one than a node looks for.
        for capability in targets:
            def named(phase: str, step: int, steps: int, name: str = capability) -> None:
                progress(f'{name} {phase}', step, steps)
            plans = build_engines(library, bundle, [capability], log, named)
            for graph, plan in plans.items():
                path = plan_path(library, bundle, graph, [capability])
                if not path.is_file():
                    raise UserError(f'{path}: the engine was built and could not be kept')
                built.append(BuiltEngine(
                    graph, capability, library_name(library), path, len(plan)))
    except EngineUnavailable as error:
        raise UserError(f'engines of {bundle.manifest.name!r}: {error}') from None
    return built


def _targets(library: Any, capabilities: Sequence[str]) -> list[str]:
    """Return the capabilities to build for, each once; a `UserError` names what cannot be."""
    wanted = list(dict.fromkeys(capabilities))
    for capability in wanted:
        if not re.fullmatch(r'[0-9]+\.[0-9]', capability):
            raise UserError(f'--capability {capability}: must be two numbers, such as 8.6')
    if wanted and is_rtx(library):
        for capability in wanted:
            rtx_target(library, capability)
        return wanted
    try:
        here = Cuda().capability()
    except EngineUnavailable as error:
        advice = ('name the GPUs with --capability, such as 8.6' if is_rtx(library) else
                  'TensorRT builds on the GPU that is to run the engine; TensorRT-RTX needs none')
        raise UserError(f'there is no GPU here to build for ({error}): {advice}') from None
    for capability in wanted:
        if capability != here:
            raise UserError(
                f'--capability {capability}: {library_name(library)} builds for the GPU of this '
                f'machine alone, which has {here}; TensorRT-RTX builds for others')
    return [here]
