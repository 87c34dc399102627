# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The models of the ladder (paper, Tables 2, C and D and appendix D), one recipe each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from deltaworld_ros.bundle.yaml_file import read_yaml
from deltaworld_ros.errors import UserError

RECIPES = Path(__file__).parents[1] / 'recipes' / 'ladder' / 'rows'


class RowTokenizer(BaseModel, extra='forbid'):
    """
    The tokenizer of a row; rows with the same name share it.

    frame_tokens: a token holds a frame and not a change; own: tokens are computed from the
    tokenizer's own reconstructions.
    """

    name: str
    kind: Literal['delta', 'compact']
    frame_tokens: bool = False
    own: bool = False


class Row(BaseModel, extra='forbid'):
    """
    One model; without a tokenizer it predicts patch tokens.

    world: cross-attention to the past, or DINO-Foresight's masked transformer.
    """

    key: str
    title: str
    learned_query: bool
    world: Literal['deltaworld', 'foresight'] = 'deltaworld'
    tokenizer: RowTokenizer | None = None

    @property
    def own(self) -> bool:
        """Tell whether its tokens are computed from own reconstructions."""
        return self.tokenizer is not None and self.tokenizer.own


def _load(path: Path) -> Row:
    return Row(key=path.stem.partition('-')[2], **read_yaml(path))


ROWS = tuple(_load(path) for path in sorted(RECIPES.glob('*.yaml')))
[DELTAWORLD] = [row for row in ROWS if row.key == 'delta-token']


def choose_rows(keys: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these keys in the ladder's order, all without any."""
    names = [row.key for row in ROWS]
    for key in keys:
        if key not in names:
            raise UserError(f'--row {key}: must be one of {", ".join(names)}')
    return tuple(row for row in ROWS if not keys or row.key in keys)


def rows_of(result: dict[str, Any]) -> list[Row]:
    """Return the rows that a run trained."""
    return [row for row in ROWS if row.key in result['rows']]
