# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train`; each of its commands is a file in commands/."""

import typer

from deltaworld_ros.errors import mistakes_in_one_line
from deltaworld_training.commands.benchmark import benchmark
from deltaworld_training.commands.bundle import bundle, features
from deltaworld_training.commands.closed_loop import closed_loop
from deltaworld_training.commands.diversity import diversity
from deltaworld_training.commands.finetune import finetune
from deltaworld_training.commands.ladder import ladder
from deltaworld_training.commands.layers import layers
from deltaworld_training.commands.shards import shards
from deltaworld_training.commands.stages import (
    dino_world,
    foresight,
    heads,
    joint,
    painter,
    predictor,
    tokenizer,
)
from deltaworld_training.commands.world import world

app = typer.Typer(no_args_is_help=True, help='Train the networks of a bundle, offline.')
# Options that Typer does not know go to Lightning's command line as they are.
FORWARDED = {'allow_extra_args': True, 'ignore_unknown_options': True}

for command in (benchmark, bundle, features, finetune, world, shards, layers, diversity, ladder,
                closed_loop):
    app.command()(command)
for stage in (tokenizer, joint, predictor, dino_world, foresight, heads, painter):
    app.command(context_settings=FORWARDED)(stage)


def main() -> None:
    """Run the command without the package's scripts, as torchrun does."""
    with mistakes_in_one_line():
        app(prog_name='deltaworld train')


if __name__ == '__main__':
    main()
