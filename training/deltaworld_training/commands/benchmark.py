# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train benchmark`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import check_outputs, write_json


def benchmark(
    name: Annotated[str, typer.Argument(help='vspw, cityscapes or kitti.')],
    path: Annotated[Path, typer.Argument(help='Folder of the data set; see docs/datasets.md.')],
    bundle: Annotated[str, typer.Option(help='Folder of a converted bundle.')],
    head: Annotated[str | None, typer.Option(
        help="Name of one of the bundle's segmentation heads; default: the exported one.")] = None,
    split_file: Annotated[Path | None, typer.Option(
        help="KITTI: the list of Eigen's test split.")] = None,
    depth: Annotated[Path | None, typer.Option(
        help='KITTI: where the annotated depth is, if elsewhere.')] = None,
    samples: Annotated[int, typer.Option(min=1, help='Futures a window, crop and horizon.')] = 20,
    windows: Annotated[int | None, typer.Option(
        min=1, help='Score only so many windows, evenly spread.')] = None,
    seed: Annotated[int, typer.Option(min=0, help='Seed of the sampling noise.')] = 0,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the figures here.')] = None,
    markdown: Annotated[Path | None, typer.Option(help='Write the table here.')] = None,
) -> None:
    """
    Score a bundle on the paper's dense forecasting benchmark, as the release does.

    Example: deltaworld train benchmark cityscapes /data/cityscapes --bundle vitb
    """
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.bundle.whole_file import write_whole
    from deltaworld_ros.errors import UserError
    from deltaworld_ros.export.converted_bundle import bundle_networks
    from deltaworld_training.benchmark.report import benchmark_markdown, benchmark_table
    from deltaworld_training.benchmark.run import BENCHMARKS, Subject, run_benchmark
    from deltaworld_training.data.sources import open_windows
    if name not in BENCHMARKS:
        raise UserError(f'benchmark {name!r}: must be one of {", ".join(BENCHMARKS)}')
    options = {}
    if name == 'kitti':
        if split_file is None:
            raise UserError("kitti: name the list of Eigen's test split with --split-file")
        options = {'split_file': split_file, 'depth': depth}
    check_outputs(json_path, markdown)
    found = open_windows(name, path, **options)
    if windows is not None and windows < len(found):
        found = [found[place * len(found) // windows] for place in range(windows)]
    loaded = load_bundle(bundle)
    networks, _ = bundle_networks(loaded, head)
    subject = Subject(networks, loaded.manifest)
    subject.check(name)
    with Progress(console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(name, total=len(found))
        result = run_benchmark(
            name, subject, found, samples=samples, seed=seed,
            advance=lambda: bar.advance(task))
    Console().print(benchmark_table(result))
    write_json(json_path, result)
    if markdown is not None:
        write_whole(markdown, benchmark_markdown(result))
