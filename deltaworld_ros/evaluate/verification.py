# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Check a bundle on every engine of this machine, and describe it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine import ENGINES, Engine, EngineUnavailable, check_parity, start_engine
from deltaworld_ros.engine.trial import try_apart


@dataclass(frozen=True)
class EngineResult:
    """How an engine fared: `correct`, `wrong`, `failed` or `not here`, and the figures or why."""

    engine: str
    outcome: str
    details: str


def verify_engines(
        bundle: Bundle, threads: int = 0, *, log: Callable[[str], None]) -> list[EngineResult]:
    """Judge a bundle on every engine that this package knows, as its node would run it."""
    return [_verify(name, bundle, threads, log) for name in ENGINES]


def _verify(
        name: str, bundle: Bundle, threads: int, log: Callable[[str], None]) -> EngineResult:
    manifest = bundle.manifest
    try:
        try_apart(bundle, name, threads, manifest.num_samples, manifest.num_futures, True, log)
    except EngineUnavailable as error:
        return EngineResult(name, 'failed', str(error))
    engine: Engine | None = None
    try:
        engine = start_engine(name, bundle, threads, log)
        report = check_parity(
            engine, bundle, num_samples=manifest.num_samples, num_futures=manifest.num_futures,
            leads=engine.prepare_leads(bundle))
    except EngineUnavailable as error:
        return EngineResult(name, 'not here' if engine is None else 'failed', str(error))
    # Engines fail in their own ways; the others are still worth a line each.
    except Exception as error:
        return EngineResult(
            name, 'failed', f'{type(error).__name__}: {" ".join(str(error).split())[:300]}')
    finally:
        if engine is not None:
            engine.close()
    return EngineResult(engine.name, 'correct' if report.passed else 'wrong', str(report))


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return what a bundle is, in the words of its manifest, for people and for JSON."""
    m = bundle.manifest
    size = sum((bundle.path / name).stat().st_size for name in m.files)
    return {
        'name': m.name,
        'description': m.description,
        'created': m.created,
        'folder': str(bundle.path),
        'size': f'{size / 1e6:.1f} MB',
        'backbone': m.backbone,
        'image': f'{m.image_width} x {m.image_height}',
        'features': f'{m.feature_columns} x {m.feature_rows} x {m.feature_size}',
        'maps': f'{m.map_width} x {m.map_height}',
        'leads': list(m.leads),
        'context': f'{m.context_length} frames, {m.stride:g} s apart',
        'samples': m.num_samples,
        'futures': m.num_futures,
        'plans': 'takes them (~/plan)' if m.motion else 'not trained with the motion of the robot',
        'depth': f'{m.depth_minimum:g} to {m.depth_maximum:g} m at a focal length of '
                 f'{m.focal_length:g} px',
        'classes': [f'{entry.name} ({entry.role})' for entry in m.classes],
        'training_data': m.training_data,
        'sources': m.sources,
        'licences': [f'{entry.component}: {entry.name} ({entry.source})' for entry in m.licences],
    }
