# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld evaluate`."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaworld_ros.camera.choices import Fit, Rectified
from deltaworld_ros.commands.shared import (
    BundleOption,
    EngineOption,
    FitOption,
    FuturesOption,
    JsonOption,
    RectifiedOption,
    SamplesOption,
    ThreadsOption,
    check_outputs,
    no_nan,
    note,
    output_console,
    progress,
    write_json,
)
from deltaworld_ros.errors import UserError

if TYPE_CHECKING:
    from deltaworld_ros.evaluate.bag_scores import BagScores
    from deltaworld_ros.evaluate.worker import WorkerSetup


class Queries(str, Enum):
    """How often a sample draws its noise."""

    KEPT = 'kept'
    FRESH = 'fresh'


def evaluate(
    source: Annotated[list[str], typer.Argument(
        help='Bags (rosbag2 folder, .mcap, .db3, .bag), addresses that fsspec knows, or @FILE '
             'with one a line; scores are pooled and told for each bag.')],
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
    odometry: Annotated[str | None, typer.Option(
        help='Odometry topic of the ego-motion baseline.')] = None,
    fit: FitOption = Fit.CROP,
    rectified: RectifiedOption = Rectified.AUTO,
    samples: SamplesOption = None,
    futures: FuturesOption = None,
    queries: Annotated[Queries | None, typer.Option(
        help="One noise query a sample or one a step; default: the bundle's way.")] = None,
    seed: Annotated[int, typer.Option(min=0, help='Seed of the sampling noise.')] = 0,
    every: Annotated[int, typer.Option(min=1, help='Forecast from each n-th frame.')] = 1,
    max_forecasts: Annotated[int | None, typer.Option(
        min=1, help='Stop each bag after this many forecasts.')] = None,
    start: Annotated[float, typer.Option(
        min=0.0, callback=no_nan,
        help='Leave out what comes before, in seconds after the first image.')] = 0.0,
    end: Annotated[float, typer.Option(
        callback=no_nan,
        help='Leave out what comes after.')] = math.inf,
    horizon: Annotated[float | None, typer.Option(
        callback=no_nan,
        help="Roll on to this lead in seconds, beyond the bundle's last one.")] = None,
    jobs: Annotated[int, typer.Option(
        min=0, help='Processes for several bags; 0: one a core.')] = 0,
    ray: Annotated[str | None, typer.Option(
        help="Score on the Ray cluster at this address; 'local': one on this machine.")] = None,
    fail_under: Annotated[list[str] | None, typer.Option(
        help='NAME=NUMBER, such as skill=0.1: exit with 1 where the last lead is under it.',
    )] = None,
    json_path: JsonOption = None,
    json_lines: Annotated[Path | None, typer.Option(
        help='Write the scores of each forecast here, one JSON object a line.')] = None,
    markdown: Annotated[Path | None, typer.Option(help='Write the tables here.')] = None,
    report: Annotated[Path | None, typer.Option(
        help='Folder for a report with pictures.')] = None,
    write_bag: Annotated[Path | None, typer.Option(
        help='Folder for a bag of the forecasts of each bag.')] = None,
    profile: Annotated[bool, typer.Option(
        '--profile', help='Say where the time went.')] = False,
) -> None:
    """
    Score forecasts of bags against what really came.

    The paper's benchmark on VSPW, Cityscapes and KITTI is `deltaworld train benchmark`.

    Example: deltaworld evaluate drive.mcap --json scores.json --report report
    Example: deltaworld evaluate drive.mcap --bundle runs/mine/street-lite0 --against street-lite0
    """
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.evaluate.bag_list import list_bags
    from deltaworld_ros.evaluate.drive import Options
    from deltaworld_ros.evaluate.limits import broken_limits, read_limits
    from deltaworld_ros.evaluate.moments import SLIDER_MOMENTS
    from deltaworld_ros.evaluate.results import pooled_result, problems
    from deltaworld_ros.evaluate.rolling_on import all_leads
    from deltaworld_ros.evaluate.worker import WorkerSetup, check_forecast_bags
    report_file = report / 'report.html' if report else None
    check_outputs(json_path, markdown, json_lines, report_file,
                 write_bag / 'bag' if write_bag else None)
    limits = read_limits(fail_under or [])
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    other = load_bundle(against).manifest if against else None
    if other and other.leads != manifest.leads:
        raise UserError(f'--against {against}: its leads {list(other.leads)} s are not '
                        f'the leads {list(manifest.leads)} s of {bundle}')
    all_leads(manifest, horizon)
    bags = list_bags(source)
    if write_bag:
        check_forecast_bags(bags, str(write_bag))
    options = Options(
        num_samples=samples, num_futures=futures, seed=seed, every=every,
        max_forecasts=max_forecasts, queries=queries.value if queries else None,
        start=start, end=end, horizon=horizon, odometry=odometry,
        fit=fit.value)
    setup = WorkerSetup(
        bundle, engine, threads,
        {'image': image, 'camera_info': camera_info, 'labels': labels, 'depth': depth},
        options, SLIDER_MOMENTS if report_file else 0, str(write_bag) if write_bag else None,
        rectified.value)
    scored = _score(setup, bags, jobs, ray)
    result = pooled_result(manifest, options, scored)
    for problem in problems(scored):
        note(problem)
    if other:
        from dataclasses import replace
        result['against'] = pooled_result(other, options, _score(
            replace(setup, bundle=str(against), moments=0, write_bag=None), bags, jobs, ray))
    from deltaworld_ros.evaluate.output import print_result, write_lines, write_markdown
    console = output_console()
    print_result(console, result, profile)
    write_json(json_path, result)
    if json_lines:
        write_lines(json_lines, scored)
    if markdown:
        write_markdown(markdown, result)
    if report_file:
        from deltaworld_ros.evaluate.report import write_evaluation_report
        write_evaluation_report(report_file, loaded, result, scored)
        console.print(f'Report: {report_file}', soft_wrap=True)
    _end(scored, broken_limits(limits, result))


def _score(setup: WorkerSetup, bags: list[str], jobs: int, ray: str | None) -> list[BagScores]:
    from deltaworld_ros.evaluate.bag_run import score_bags
    with progress() as bar:
        return score_bags(setup, bags, bar, jobs=jobs, ray=ray, log=note)


def _end(scored: list[Any], broken: list[str]) -> None:
    """Fail where a limit is broken or a bag could not be read, after everything is written."""
    failed = sum(bool(bag.error) for bag in scored)
    if failed:
        broken = [*broken, f'{failed} of {len(scored)} bags could not be read']
    if broken:
        raise UserError('; '.join(broken))
