# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train finetune`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaworld_ros.camera.choices import Fit
from deltaworld_ros.commands.shared import no_nan
from deltaworld_training.commands.shared import OutputOption, RecipeOption
from deltaworld_training.runs.recipe import load_recipe


def finetune(
    bag: Annotated[list[Path], typer.Option(help='A bag; may be given several times.')],
    output: OutputOption,
    bundle: Annotated[str, typer.Option(
        help='Bundle to start from: a shipped name or a folder.')] = 'street-lite0',
    networks: Annotated[Path | None, typer.Option(
        help="networks.safetensors of the bundle's run; default: its half-precision weights.",
    )] = None,
    image: Annotated[str | None, typer.Option(help='Image topic, raw or compressed.')] = None,
    fit: Annotated[Fit, typer.Option(
        help='How the node will see a frame: crop cuts what stands out, squash keeps all of it.',
    )] = Fit.CROP,
    start: Annotated[float, typer.Option(
        min=0.0, callback=no_nan,
        help='Leave out what comes before, in seconds after the first image.')] = 0.0,
    end: Annotated[float | None, typer.Option(
        callback=no_nan,
        help='Leave out what comes after.')] = None,
    minutes: Annotated[float, typer.Option(
        min=0.1, max=100_000.0, callback=no_nan,
        help='Time for features and training.')] = 10,
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
    from deltaworld_training.runs.finetune import FineTuning
    folder = FineTuning(
        load_bundle(bundle), networks,
        [BagRecording(path, image=image, start=start, end=end) for path in bag],
        load_recipe(recipe), output, minutes, clips, mix, workers, fit.value).run()
    typer.echo(f'Wrote the bundle {folder}')
