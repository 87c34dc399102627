# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld export`."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from deltaworld_ros.bundle.whole_file import check_new_folder
from deltaworld_ros.commands.shared import (
    BundleOption,
    JsonOption,
    check_outputs,
    needing_export,
    no_nan,
    note,
    output_console,
    quiet_exporter,
    read_size,
    write_json,
)
from deltaworld_ros.errors import UserError

# What the manifest and the dynamic axes of the graphs allow.
RANGES = {'num_samples': (1, 65536), 'num_futures': (1, 256), 'steps': (1, 64),
          'stride': (0.01, 60.0)}


class PrecisionChoice(str, Enum):
    """The type that the graphs compute in."""

    FP32 = 'fp32'
    FP16 = 'fp16'
    BF16 = 'bf16'


class MlpChoice(str, Enum):
    """The type of the MLPs' products."""

    SAME = 'same'
    INT8 = 'int8'


def export(
    networks: Annotated[str, typer.Argument(
        help='A converted bundle, or a file of networks (.safetensors).')],
    output: Annotated[Path, typer.Option(help='New folder for the bundle.')],
    precision: Annotated[PrecisionChoice, typer.Option(
        help='Type of products and activations.')] = PrecisionChoice.FP16,
    mlp: Annotated[MlpChoice, typer.Option(
        help='Type of the products of MLPs: as the others, or int8 (needs the extra '
             '`quantise`).')] = MlpChoice.SAME,
    bundle: BundleOption = 'street-lite0',
    size: Annotated[str | None, typer.Option(
        help='Image size, N or WIDTHxHEIGHT in multiples of 16 pixels.')] = None,
    samples: Annotated[int | None, typer.Option(
        help="Futures to sample, 1 to 65536; default: the bundle's number.")] = None,
    futures: Annotated[int | None, typer.Option(
        help="Futures to choose and decode, 1 to 256; default: the bundle's number.")] = None,
    steps: Annotated[int | None, typer.Option(
        help="Leads to forecast, 1 to 64; default: the bundle's number.")] = None,
    stride: Annotated[float | None, typer.Option(
        callback=no_nan,
        help='Seconds between frames and between leads, 0.01 to 60; the predictor must have been '
             "trained for it; default: the bundle's.")] = None,
    painter: Annotated[Path | None, typer.Option(
        help='File of a painter, for pictures of futures; default: that of the bundle, if any.',
    )] = None,
    json_path: JsonOption = None,
) -> None:
    """
    Export networks anew: precision, size, leads, futures (needs the extra `export`).

    For a file of networks, --bundle describes them. Reports how far each layer group is from
    float32, and fails where the result misses the golden outputs.

    Example: deltaworld export vitb --precision fp16 --output vitb-fp16
    """
    with needing_export('export'):
        from deltaworld_ros.export.precision_report import precision_report
        from deltaworld_ros.export.reexport import export_again, find_networks
    from deltaworld_ros.bundle import load_bundle
    from deltaworld_ros.engine import load_engine
    check_outputs(json_path)
    check_new_folder(output)
    pixels = read_size(size)
    changes = {'num_samples': samples, 'num_futures': futures, 'steps': steps,
               'stride': stride}
    for name, (least, most) in RANGES.items():
        value = changes[name]
        # Written so that NaN is refused.
        if value is not None and not least <= value <= most:
            option = name.removeprefix('num_')
            raise UserError(f'--{option} {value}: must be {least:g} to {most:g}')
    if mlp is MlpChoice.INT8:
        from deltaworld_ros.export.quantise import find_quantiser, quantise_mlps
        if precision is PrecisionChoice.BF16:
            raise UserError('--mlp int8: needs --precision fp32 or fp16, not bf16')
        find_quantiser()
    loaded, described = find_networks(networks, bundle)
    note(f'Exporting in {precision.value}; this takes minutes')
    with quiet_exporter():
        manifest = export_again(
            loaded, described, output, precision.value,
            pixels, {name: value for name, value in changes.items() if value is not None}, painter)
        if mlp is MlpChoice.INT8:
            manifest = quantise_mlps(output, manifest, loaded, precision.value)
    with np.load(output / 'golden.npz', allow_pickle=False) as golden:
        rows = precision_report(loaded, manifest, precision.value, golden)
    table = Table(title=f'{manifest.name} against float32', title_justify='left')
    for heading in ('graph', 'layers', 'cosine', 'worst'):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.graph, row.layers, f'{row.cosine:.6f}', f'{row.worst:.6f}')
    output_console().print(table)
    write_json(json_path, {
        'bundle': manifest.name, 'precision': precision.value,
        'rows': [dataclasses.asdict(row) for row in rows]})
    # ONNX Runtime has no bfloat16 on the CPU.
    engine = 'torch' if precision is PrecisionChoice.BF16 else 'onnxruntime'
    load_engine(load_bundle(output), engine, log=note).close()
    note(f'{output}: exported and reproduced by {engine}')
