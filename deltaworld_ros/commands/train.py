# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `deltaworld train`: what the package deltaworld_training registers."""

from __future__ import annotations

import importlib.metadata

import typer

from deltaworld_ros.errors import UserError

ENTRY_POINT_GROUP = 'deltaworld_ros.commands'
FORWARDED = {'allow_extra_args': True, 'ignore_unknown_options': True, 'help_option_names': []}


def train(context: typer.Context) -> None:
    """
    Train networks or render worlds (needs the package deltaworld_training).

    Example: deltaworld train world --seed 0 --clips 20 --bag street_test
    """
    installed = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP, name='train')
    remedy = 'install it from a checkout of this repository with: pip install ./training'
    if not installed:
        raise UserError(f'training is a package of its own, which is not installed; {remedy}')
    try:
        command = next(iter(installed)).load()
    except ModuleNotFoundError as error:
        raise UserError(f'training needs the module {error.name}; {remedy}') from None
    command(args=context.args, prog_name='deltaworld train')
