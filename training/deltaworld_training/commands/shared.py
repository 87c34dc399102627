# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options that the training commands share."""

from pathlib import Path
from typing import Annotated

import typer

OutputOption = Annotated[Path, typer.Option(
    help='Folder of the run; kept steps are not redone.')]
RecipeOption = Annotated[str, typer.Option(help='A shipped recipe or a YAML file.')]
VideosOption = Annotated[Path | None, typer.Option(
    help='Folder with the dashcam clips that the recipe names.')]
StageOption = Annotated[str | None, typer.Option(
    help='Only the stage of this name; default: all of this kind.')]
