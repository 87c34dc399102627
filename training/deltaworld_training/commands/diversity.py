# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train diversity`."""

from pathlib import Path
from typing import Annotated

import typer


def diversity(
    bundle: Annotated[str, typer.Option(help='Shipped name or folder.')] = 'street-lite0',
    pasts: Annotated[int, typer.Option(min=1, help='Pasts with an open future.')] = 100,
    queries: Annotated[str, typer.Option(help='kept, fresh or kept,fresh.')] = 'kept,fresh',
    folder: Annotated[Path, typer.Option(
        help='Where the true futures are kept.')] = Path('runs/true_futures'),
    seed: Annotated[int, typer.Option(min=0, help='First seed of the test worlds.')] = 0,
    workers: Annotated[int, typer.Option(min=1, help='Processes that render.')] = 2,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the figures here.')] = None,
    markdown: Annotated[Path | None, typer.Option(help='Write the tables here.')] = None,
) -> None:
    """
    Compare a bundle's samples with all true futures of street world pasts.

    Example: deltaworld train diversity --bundle street-lite0 --pasts 100 --json diversity.json
    """
    from rich.console import Console

    from deltaworld_training.diversity.report import report_diversity
    table = report_diversity(
        bundle, pasts, queries.split(','), folder, seed, workers, json_path, markdown)
    Console(markup=False, emoji=False).print(table)
