# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld demo`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import (
    BundleOption,
    JsonOption,
    PortOption,
    ViewOption,
    check_outputs,
    output_console,
    show_live,
    write_json,
)


def demo(
    bag: Annotated[Path | None, typer.Option(help='Another recording than the sample.')] = None,
    bundle: BundleOption = 'street-lite0',
    output: Annotated[Path, typer.Option(help='Folder for the results.')] = Path('demo_output'),
    open_report: Annotated[bool, typer.Option(
        '--open/--no-open', help='Open the report in a browser.')] = False,
    view: ViewOption = False,
    port: PortOption = 8765,
    json_path: JsonOption = None,
) -> None:
    """
    Drive a recording through the live node and report.

    Example: deltaworld demo --output demo_output
    Example: deltaworld demo --view
    """
    from deltaworld_ros.evaluate.demo import SAMPLE_BAG, run_demo
    from deltaworld_ros.evaluate.tables import legend, rich_table
    # The children are ended on the way out, whoever asks for it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if view:
        show_live(bag or SAMPLE_BAG, bundle, port, loop=True)
        return
    check_outputs(json_path, output / 'report.html')
    result = run_demo(output, bag=bag or SAMPLE_BAG, bundle=bundle)
    console = output_console()
    for table in result.tables:
        console.print(rich_table(table))
    for line in legend(result.tables):
        console.print(line, style='dim', highlight=False, markup=False)
    summary, latency = result.summary, result.summary['latency_ms']
    console.print(
        f'{summary["forecasts"]} forecasts ({summary["scored"]} scored) '
        f'at {summary["rate_hz"]:.1f} a second, '
        f'{latency["p50"]:.0f} ms after their picture (95 % within {latency["p95"]:.0f} ms), '
        f'{summary["dropped"]} pictures dropped')
    console.print(f'Report: {result.report}', soft_wrap=True)
    write_json(json_path, summary)
    if open_report:
        typer.launch(str(result.report))
