# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train ladder`."""

from pathlib import Path
from typing import Annotated

import typer


def ladder(
    output: Annotated[Path, typer.Option(help='Folder of the run; kept parts are not redone.')],
    budget: Annotated[str, typer.Option(
        help='cpu, gpu, small, smoke or a YAML file like those in recipes/ladder.')] = 'cpu',
    seeds: Annotated[int, typer.Option(min=1, help='Trainings of each row.')] = 2,
    threads: Annotated[int, typer.Option(min=0, help='CPU threads; 0: torch chooses.')] = 0,
    row: Annotated[list[str] | None, typer.Option(
        help='Key of a row (dino-world, ...), any number of times; all without it.')] = None,
    report: Annotated[Path | None, typer.Option(
        help='Folder for table, JSON and figures; default: that of the run.')] = None,
) -> None:
    """
    Train all models of the paper's ladder at one budget and compare them.

    Example: deltaworld train ladder --output runs/ladder --budget cpu --report docs/ladder
    """
    import torch

    from deltaworld_training.ladder.rows import choose_rows
    from deltaworld_training.ladder.run import LadderRun, write_report
    from deltaworld_training.ladder.settings import load_budget
    if threads:
        torch.set_num_threads(threads)
    run = LadderRun(load_budget(budget), output, seeds, choose_rows(row or []))
    for path in write_report(run.run(), report or output):
        typer.echo(f'Wrote {path}')
