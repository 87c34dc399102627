# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train shards`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.commands.shared import MAX_SIDE, check_outputs, no_nan, write_json


def shards(
    output: Annotated[str, typer.Option(help='Folder or URL (s3://bucket/name with s3fs).')],
    kind: Annotated[str, typer.Option(
        help='street, videos, frames, bags, kinetics, vspw, cityscapes or kitti.')],
    path: Annotated[str, typer.Option(help='File or folder of the source; none for street.')] = '',
    option: Annotated[list[str] | None, typer.Option(
        help='More for the source as name=value, for example split=val or crop=centre.')] = None,
    clips: Annotated[int, typer.Option(min=1, help='Clips to draw.')] = 10_000,
    frames: Annotated[int, typer.Option(min=2, help='Frames a clip.')] = 8,
    stride: Annotated[float | None, typer.Option(
        min=0.01, max=60.0, callback=no_nan,
        help="Seconds between frames; default: the paper's 1/25 to 1/3 s.")] = None,
    width: Annotated[int, typer.Option(min=32, max=MAX_SIDE)] = 256,
    height: Annotated[int, typer.Option(min=32, max=MAX_SIDE)] = 256,
    clips_per_shard: Annotated[int, typer.Option(min=1)] = 128,
    quality: Annotated[int, typer.Option(min=1, max=100, help='Of the JPEG frames.')] = 90,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    workers: Annotated[int, typer.Option(min=0, help='Processes; 0: this one alone.')] = 2,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the figures here.')] = None,
) -> None:
    """
    Write clips of a source as WebDataset shards; a run that was stopped goes on.

    Example: deltaworld train shards --kind bags --path drives --output shards/drives
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from deltaworld_ros.bundle.yaml_file import parse_yaml
    from deltaworld_training.data.open_source import Drawing, SourceSettings, open_source
    from deltaworld_training.data.shards import ShardWriter
    check_outputs(json_path)
    options = {'clips': clips}
    for item in option or []:
        name, _, value = item.partition('=')
        options[name] = parse_yaml(value, f'--option {name[:100]}')
    source = open_source(
        SourceSettings(kind, path, options=options),
        Drawing((width, height), frames, stride, seed))
    description = {
        'kind': kind, 'path': path, 'options': options, 'frames': frames, 'stride': stride,
        'size': [width, height], 'seed': seed,
    }
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task('Clips', total=len(source))
        index = ShardWriter(output, clips_per_shard, quality).write(
            source, description, workers, lambda count: progress.advance(task, count))
    figures = {
        'output': output, 'clips': index['samples'], 'shards': len(index['shardlist']),
        'bytes': index['bytes'],
    }
    write_json(json_path, figures)
    typer.echo(f'Wrote {figures["clips"]} clips in {figures["shards"]} shards '
               f'({figures["bytes"] / 1e6:.1f} MB) to {output}')
