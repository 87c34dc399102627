# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands `deltaworld bundle ...`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from deltaworld_ros.commands.shared import (
    JsonOption,
    check_outputs,
    note,
    output_console,
    progress,
    write_json,
)
from deltaworld_ros.errors import UserError

BundleArgument = Annotated[str, typer.Argument(help='Shipped name or folder.')]
SHIPPED = 'street-lite0'

bundle_app = typer.Typer(no_args_is_help=True, help='Check, describe or build a bundle.')


@bundle_app.command()
def verify(bundle: BundleArgument = SHIPPED, json_path: JsonOption = None) -> None:
    """
    Check the files and every engine of this machine.

    Example: deltaworld bundle verify
    Example: deltaworld bundle verify runs/mine/street-lite0 --json verified.json
    """
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.evaluate.verification import verify_engines
    check_outputs(json_path)
    loaded = load_bundle(bundle)
    results = verify_engines(loaded, log=note)
    table = Table(title=f'{loaded.manifest.name}: {len(loaded.manifest.files)} files have their '
                        'hashes', title_justify='left')
    for heading in ('engine', 'result', 'details'):
        table.add_column(heading)
    for result in results:
        table.add_row(result.engine, result.outcome, result.details)
    output_console().print(table)
    write_json(json_path, {
        'bundle': loaded.manifest.name, 'files': loaded.manifest.files,
        'engines': {result.engine: {'outcome': result.outcome, 'details': result.details}
                    for result in results}})
    if any(result.outcome == 'wrong' for result in results):
        raise UserError('an engine of this machine does not reproduce the golden outputs')
    if not any(result.outcome == 'correct' for result in results):
        raise UserError('no engine of this machine can run the bundle')


@bundle_app.command()
def info(bundle: BundleArgument = SHIPPED, json_path: JsonOption = None) -> None:
    """
    Describe a bundle: sizes, classes, sources, licences.

    Example: deltaworld bundle info
    Example: deltaworld bundle info runs/mine/street-lite0
    """
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.evaluate.verification import describe_bundle
    check_outputs(json_path)
    loaded = load_bundle(bundle)
    description = describe_bundle(loaded)
    table = Table(show_header=False)
    for name, value in description.items():
        shown = '\n'.join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(name.replace('_', ' '), shown)
    output_console().print(table)
    write_json(json_path, description)


@bundle_app.command()
def build(bundle: BundleArgument,
          capability: Annotated[list[str] | None, typer.Option(
              help="Compute capability to build for, such as 8.6; may be given again. Default: "
                   "this machine's GPU. Others need TensorRT-RTX.")] = None,
          json_path: JsonOption = None) -> None:
    """
    Build a bundle's TensorRT engines ahead of time, into the cache of engines.

    Example: deltaworld bundle build street-lite0 --capability 8.6 --capability 8.9
    """
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.engine.tensorrt.build_ahead import build_ahead
    check_outputs(json_path)
    loaded = load_bundle(bundle)
    with progress() as bar:
        def show(phase: str, step: int, steps: int) -> None:
            task = bar.task_ids[0] if bar.task_ids else bar.add_task('')
            bar.update(task, description=phase, completed=step, total=steps)
        built = build_ahead(loaded, capability or [], note, show)
    table = Table()
    for heading in ('graph', 'compute capability', 'size'):
        table.add_column(heading)
    for engine in built:
        table.add_row(engine.graph, engine.capability, f'{engine.size / 1e6:.1f} MB')
    console = output_console()
    console.print(f'{loaded.manifest.name}: engines of {built[0].library} in '
                  f'{built[0].path.parent}', soft_wrap=True)
    console.print(table)
    write_json(json_path, {
        'bundle': loaded.manifest.name, 'library': built[0].library,
        'engines': [{'graph': engine.graph, 'capability': engine.capability,
                     'path': str(engine.path), 'bytes': engine.size} for engine in built]})
