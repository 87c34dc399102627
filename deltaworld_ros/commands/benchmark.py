# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld benchmark`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deltaworld_ros.commands.shared import (
    BundleOption,
    EngineOption,
    FuturesOption,
    JsonOption,
    SamplesOption,
    ThreadsOption,
    check_outputs,
    needing_export,
    note,
    output_console,
    progress,
    write_json,
)


def benchmark(
    bundle: BundleOption = 'street-lite0',
    engine: EngineOption = 'auto',
    threads: ThreadsOption = 0,
    samples: SamplesOption = None,
    futures: FuturesOption = None,
    repetitions: Annotated[int, typer.Option(min=1, help='Forecasts to measure.')] = 50,
    flops: Annotated[bool, typer.Option(
        '--flops', help='Count operations instead (needs the extra `export`).')] = False,
    configuration: Annotated[str | None, typer.Option(
        help='With --flops: count networks of the paper, e.g. vitb-256, or a YAML file of sizes, '
             'instead of the bundle.')] = None,
    context: Annotated[int | None, typer.Option(
        min=1, help='With --configuration: frames seen.')] = None,
    steps: Annotated[int | None, typer.Option(
        min=1, help='With --configuration: frames forecast.')] = None,
    json_path: JsonOption = None,
) -> None:
    """
    Measure how fast a bundle forecasts on this machine, or count its operations.

    Example: deltaworld benchmark --threads 2 --json speed.json
    Example: deltaworld benchmark --flops --configuration vitb-256
    """
    if flops:
        _count_operations(
            bundle, samples, futures, configuration, context, steps, json_path)
        return
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.engine import load_engine
    from deltaworld_ros.evaluate.benchmark import benchmark as run_benchmark
    check_outputs(json_path)
    loaded = load_bundle(bundle)
    running = load_engine(loaded, engine, threads, log=note, apart_first=True)
    with progress() as bar:
        task = bar.add_task('forecasting', total=repetitions)
        result = run_benchmark(running, loaded, num_samples=samples, num_futures=futures,
                               repetitions=repetitions,
                               advance=functools.partial(bar.advance, task))
    running.close()
    title = (f'{result["bundle"]}, {result["engine"]}, {result["num_samples"]} samples, '
             f'{result["num_futures"]} futures')
    table = Table(title=title, title_justify='left')
    table.add_column('stage')
    table.add_column('median ms', justify='right')
    for stage, milliseconds in result['median_ms'].items():
        table.add_row(stage, f'{milliseconds:.2f}')
    console = output_console()
    console.print(table)
    console.print(f'{result["forecasts_per_second"]:.1f} forecasts per second on '
                  f'{result["machine"]["cores"]} cores of {result["machine"]["processor"]}')
    write_json(json_path, result)


def _count_operations(
    bundle: str, samples: int | None, futures: int | None, configuration: str | None,
    context: int | None, steps: int | None, json_path: Path | None,
) -> None:
    """Print and write the GFLOPs of a bundle's forecast or of a configuration."""
    with needing_export('--flops'):
        from deltaworld_ros.engine.graph_cost import bundle_cost
        from deltaworld_ros.export.cost import configuration_cost, load_configuration
    check_outputs(json_path)
    if configuration is None:
        from deltaworld_ros.bundle import load_bundle
        loaded = load_bundle(bundle)
        result = bundle_cost(loaded, samples or loaded.manifest.num_samples,
                             futures or loaded.manifest.num_futures)
    else:
        chosen = load_configuration(
            configuration, samples=samples, context=context, steps=steps)
        result = {'configuration': configuration, **configuration_cost(chosen).report()}
    table = Table(title=f'GFLOPs of {configuration or bundle}', title_justify='left')
    table.add_column('part')
    table.add_column('GFLOPs', justify='right')
    for part, value in result.items():
        if isinstance(value, float):
            table.add_row(part.replace('_', ' '), f'{value:.3f}')
        elif isinstance(value, list):
            table.add_row(part.replace('_', ' '), ', '.join(f'{each:.3f}' for each in value))
    numbers = ', '.join(f'{value} {part.removeprefix("num_")}' for part, value in result.items()
                        if isinstance(value, int))
    console = output_console()
    console.print(table)
    console.print(f'One forecast: {numbers}')
    write_json(json_path, result)
