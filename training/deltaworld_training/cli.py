# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands `deltaworld train ...`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_training.recipe import load_recipe

app = typer.Typer(no_args_is_help=True, help='Train the networks of a bundle, offline.')


# Options that Typer does not know go to Lightning's command line as they are.
FORWARDED = {'allow_extra_args': True, 'ignore_unknown_options': True}

OutputOption = Annotated[Path, typer.Option(
    help='Folder of the run; kept steps are not redone.')]
RecipeOption = Annotated[str, typer.Option(help='A shipped recipe or a YAML file.')]
VideosOption = Annotated[Path | None, typer.Option(
    help='Folder with the dashcam clips that the recipe names.')]
StageOption = Annotated[str | None, typer.Option(
    help='Only the stage of this name; default: all of this kind.')]


@app.command()
def bundle(
    output: OutputOption, recipe: RecipeOption = 'street-cpu', videos: VideosOption = None,
) -> None:
    """
    Train a bundle from nothing: data, tokenizer, predictor, heads, export.

    Example: deltaworld train bundle --recipe street-cpu --videos clips --output runs/street
    """
    from deltaworld_training.bundle_run import BundleRun
    folder = BundleRun(load_recipe(recipe), output, videos).run()
    typer.echo(f'Wrote the bundle {folder}')


@app.command()
def features(
    output: OutputOption, recipe: RecipeOption = 'street-cpu', videos: VideosOption = None,
) -> None:
    """
    Only render and cache the features that a recipe trains on, in one process.

    Example: deltaworld train features --recipe street-gpu --videos clips --output runs/street
    """
    from deltaworld_training.bundle_run import BundleRun
    BundleRun(load_recipe(recipe), output, videos).prepare()


@app.command(context_settings=FORWARDED)
def tokenizer(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train the tokenizer of a recipe; more options go to Lightning.

    Example: deltaworld train tokenizer --output runs/x --trainer.max_steps=100 --model.rate=1e-3
    """
    _train('tokenizer', context.args, output, recipe, stage, videos)


@app.command(context_settings=FORWARDED)
def decoder(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Distil the decoder of a run's tokenizer into fewer layers; more options go to Lightning.

    Example: deltaworld train decoder --output runs/street --model.tokenizer.decoder_layers=1
    """
    _train('decoder', context.args, output, recipe, stage, videos)


@app.command(context_settings=FORWARDED)
def predictor(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train the predictor of a recipe, after its tokenizer; more options go to Lightning.

    Example: deltaworld train predictor --output runs/x --model.candidates=64
    """
    _train('predictor', context.args, output, recipe, stage, videos)


@app.command(context_settings=FORWARDED)
def heads(
    context: typer.Context, output: OutputOption, recipe: RecipeOption = 'street-cpu',
    stage: StageOption = None, videos: VideosOption = None,
) -> None:
    """
    Train the segmentation and depth heads of a recipe; more options go to Lightning.

    Example: deltaworld train heads --output runs/x --trainer.max_steps=500
    """
    _train('heads', context.args, output, recipe, stage, videos)


@app.command()
def finetune(
    bag: Annotated[list[Path], typer.Option(help='A bag; may be given several times.')],
    output: OutputOption,
    bundle: Annotated[str, typer.Option(
        help='Bundle to start from: a shipped name or a folder.')] = 'street-lite0',
    networks: Annotated[Path | None, typer.Option(
        help="networks.safetensors of the bundle's run; default: its half-precision weights.",
    )] = None,
    image: Annotated[str | None, typer.Option(help='Image topic, raw or compressed.')] = None,
    start: Annotated[float, typer.Option(
        min=0.0, help='Leave out what comes before, in seconds after the first image.')] = 0.0,
    end: Annotated[float | None, typer.Option(help='Leave out what comes after.')] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help='Time for features and training.')] = 10,
    clips: Annotated[int, typer.Option(min=1, help='Random cuts of the bags.')] = 500,
    mix: Annotated[Path | None, typer.Option(
        help='A feature store of an earlier run, half of each batch, against forgetting.')] = None,
    workers: Annotated[int, typer.Option(min=1, help='Processes that compute features.')] = 2,
    recipe: RecipeOption = 'finetune-bag',
) -> None:
    """
    Fine-tune a bundle on your own bags, without labels, and write a new bundle.

    Example: deltaworld train finetune --bag drive --minutes 10 --output runs/mine
    """
    from deltaworld_ros.bundle.load import load_bundle
    from deltaworld_training.data.sources.bags import BagRecording
    from deltaworld_training.finetune import FineTuning
    folder = FineTuning(
        load_bundle(bundle), networks,
        [BagRecording(path, image=image, start=start, end=end) for path in bag],
        load_recipe(recipe), output, minutes, clips, mix, workers).run()
    typer.echo(f'Wrote the bundle {folder}')


def _train(
    kind: str, overrides: list[str], output: Path, recipe: str, stage: str | None,
    videos: Path | None,
) -> None:
    """Run the stages of one kind, after the features that the recipe caches."""
    from deltaworld_training.stage_run import run_kind
    for path in run_kind(load_recipe(recipe), kind, stage, output, videos, overrides):
        typer.echo(f'Wrote {path}')


@app.command()
def world(
    bag: Annotated[Path, typer.Option(help='Folder of the new rosbag2 (mcap).')],
    seed: Annotated[int, typer.Option(
        min=0, help='First seed. Below 100000: the test split, which no training sees.')] = 0,
    clips: Annotated[int, typer.Option(min=1, help='One clip a seed.')] = 20,
    seconds: Annotated[float, typer.Option(min=1.4, help='Length of each clip.')] = 3.0,
    rate: Annotated[float, typer.Option(min=1.0, help='Frames a second.')] = 10.0,
    width: Annotated[int, typer.Option(min=64)] = 320,
    height: Annotated[int, typer.Option(min=64)] = 192,
) -> None:
    """
    Render the street world with its ground truth as a bag.

    Example: deltaworld train world --seed 0 --clips 40 --bag street_test
    """
    from deltaworld_training.data.world_bag import write_world_bag
    frames = write_world_bag(bag, range(seed, seed + clips), seconds, rate, (width, height))
    typer.echo(f'Wrote {frames} frames to {bag}')


@app.command()
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
        min=0.01, help="Seconds between frames; default: the paper's 1/25 to 1/3 s.")] = None,
    width: Annotated[int, typer.Option(min=32)] = 256,
    height: Annotated[int, typer.Option(min=32)] = 256,
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
    import json

    import yaml
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from deltaworld_training.data.open_source import Drawing, SourceSettings, open_source
    from deltaworld_training.data.shards import ShardWriter
    options = {'clips': clips}
    for item in option or []:
        name, _, value = item.partition('=')
        options[name] = yaml.safe_load(value)
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
    if json_path:
        json_path.write_text(json.dumps(figures), encoding='utf-8')
    typer.echo(f'Wrote {figures["clips"]} clips in {figures["shards"]} shards '
               f'({figures["bytes"] / 1e6:.1f} MB) to {output}')


@app.command()
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
    Console().print(table)


@app.command()
def ladder(
    output: Annotated[Path, typer.Option(help='Folder of the run; kept parts are not redone.')],
    budget: Annotated[str, typer.Option(
        help='cpu, gpu, smoke or a YAML file like those in recipes/ladder.')] = 'cpu',
    seeds: Annotated[int, typer.Option(min=1, help='Trainings of each row.')] = 2,
    threads: Annotated[int, typer.Option(min=0, help='CPU threads; 0: torch chooses.')] = 0,
    report: Annotated[Path | None, typer.Option(
        help='Folder for table, JSON and figures; default: that of the run.')] = None,
) -> None:
    """
    Train all models of the paper's ladder at one budget and compare them.

    Example: deltaworld train ladder --output runs/ladder --budget cpu --report docs/ladder
    """
    import torch

    from deltaworld_training.ladder.run import LadderRun, write_report
    from deltaworld_training.ladder.settings import load_budget
    if threads:
        torch.set_num_threads(threads)
    settings = load_budget(budget)
    for path in write_report(LadderRun(settings, output, seeds).run(), report or output):
        typer.echo(f'Wrote {path}')
