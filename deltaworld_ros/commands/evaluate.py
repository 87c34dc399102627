# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld evaluate`."""

from __future__ import annotations

import functools
import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deltaworld_ros.commands.shared import (
    BundleOption,
    EngineOption,
    FuturesOption,
    JsonOption,
    SamplesOption,
    ThreadsOption,
    make_folders,
    note,
    progress,
    write_json,
    write_text,
)
from deltaworld_ros.errors import UserError


class Queries(str, Enum):
    """How often a sample draws its noise."""

    KEPT = 'kept'
    FRESH = 'fresh'


def evaluate(
    source: Annotated[list[Path], typer.Argument(
        help='Bags (rosbag2 folder, .mcap, .db3, .bag); scores are pooled.')],
    bundle: BundleOption = 'street-lite0',
    against: Annotated[str | None, typer.Option(
        help='Another bundle, scored on the same frames; the differences are printed.')] = None,
    engine: EngineOption = 'auto',
    threads: ThreadsOption = 0,
    image: Annotated[str | None, typer.Option(help='Image topic, raw or compressed.')] = None,
    camera_info: Annotated[str | None, typer.Option(help='CameraInfo topic.')] = None,
    labels: Annotated[str | None, typer.Option(
        help="Topic of true class ids (mono8, the bundle's classes).")] = None,
    depth: Annotated[str | None, typer.Option(
        help='Topic of true depth (32FC1 metres or 16UC1 millimetres).')] = None,
    samples: SamplesOption = None,
    futures: FuturesOption = None,
    queries: Annotated[Queries | None, typer.Option(
        help="One noise query a sample or one a step; default: the bundle's way.")] = None,
    seed: Annotated[int, typer.Option(help='Seed of the sampling noise.')] = 0,
    every: Annotated[int, typer.Option(min=1, help='Forecast from each n-th frame.')] = 1,
    max_forecasts: Annotated[int | None, typer.Option(
        min=1, help='Stop each bag after this many forecasts.')] = None,
    start: Annotated[float, typer.Option(
        min=0.0, help='Leave out what comes before, in seconds after the first image.')] = 0.0,
    end: Annotated[float, typer.Option(help='Leave out what comes after.')] = math.inf,
    json_path: JsonOption = None,
    markdown: Annotated[Path | None, typer.Option(help='Write the tables here.')] = None,
    report: Annotated[Path | None, typer.Option(
        help='Folder for a report with pictures.')] = None,
) -> None:
    """
    Score forecasts of bags against what really came.

    Example: deltaworld evaluate drive.mcap --json scores.json --report report
    Example: deltaworld evaluate drive.mcap --bundle runs/mine/street-lite0 --against street-lite0
    """
    from deltaworld_ros.bags.frames import BagFrames
    from deltaworld_ros.bundle import Bundle, load_bundle
    from deltaworld_ros.engine import load_engine
    from deltaworld_ros.evaluate.drive import Options
    from deltaworld_ros.evaluate.evaluator import Evaluator
    from deltaworld_ros.evaluate.tables import (
        comparison_tables,
        legend,
        markdown_tables,
        obstacle_tables,
        rich_table,
        score_tables,
        skill_lines,
    )
    report_file = report / 'report.html' if report else None
    make_folders(json_path, markdown, report_file)
    loaded = load_bundle(bundle)
    other = load_bundle(against) if against else None
    if other and other.manifest.leads != loaded.manifest.leads:
        raise UserError(f'--against {against}: its leads {list(other.manifest.leads)} s are not '
                        f'the leads {list(loaded.manifest.leads)} s of {bundle}')

    def score(scored: Bundle) -> Evaluator:
        running = load_engine(scored, engine, threads, log=note)
        evaluator = Evaluator(running, scored, Options(
            num_samples=samples, num_futures=futures, seed=seed, every=every,
            max_forecasts=max_forecasts, queries=queries.value if queries else None,
            start=start, end=end), moments=6 if report_file else 0)
        with progress() as bar:
            for path in source:
                with BagFrames(path, image=image, camera_info=camera_info, labels=labels,
                               depth=depth) as bag:
                    task = bar.add_task(path.name, total=bag.count)
                    evaluator.run(bag, functools.partial(bar.advance, task))
        running.close()
        for problem in evaluator.problems:
            note(problem)
        return evaluator

    evaluator = score(loaded)
    result = evaluator.result()
    tables = score_tables(result['leads'])
    obstacles = obstacle_tables(result['leads'])
    console = Console()
    for table in (*tables, obstacles[-1]):
        console.print(rich_table(table), '')
    for line in (*legend([tables[-1], obstacles[-1]]), *skill_lines(result)):
        console.print(line, style='dim', highlight=False, markup=False)
    kinds = ', '.join(f'{what}: {kind}' for what, kind in result['truth_of'].items())
    console.print(_counts(result, kinds))
    differences = []
    if other:
        result['against'] = score(other).result()
        differences = comparison_tables(result['leads'], result['against']['leads'])
        for table in differences:
            console.print(rich_table(table))
        console.print(f'{bundle} minus {against}, which has '
                      f'{result["against"]["forecasts"]} forecasts scored')
    write_json(json_path, result)
    if markdown:
        caption = (f'`{result["bundle"]}` on {", ".join(path.name for path in source)}: '
                   f'{result["forecasts"]} forecasts, truth: {kinds}.')
        if other:
            caption += f' Differences: `{bundle}` minus `{against}`.'
        write_text(markdown, markdown_tables([*tables, *obstacles, *differences], caption))
    if report_file:
        from deltaworld_ros.evaluate.report import write_evaluation_report
        write_evaluation_report(report_file, loaded.manifest, result, tables, evaluator.moments)
        console.print(f'Report: {report_file}', soft_wrap=True)


def _counts(result: dict[str, Any], kinds: str) -> str:
    """Say what was scored and what was not."""
    latency = result['latency_ms']
    return (f'{result["forecasts"]} forecasts scored, {result["unscored"]} without a future to '
            f'compare with, {result["dropped"]} images dropped, {result["restarts"]} restarts; '
            f'truth: {kinds}; latency {latency["p50"]:.0f} ms '
            f'(95 % within {latency["p95"]:.0f} ms)')
