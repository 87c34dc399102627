# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Of which kind a predictor's tokens are: released files do not tell, so the user must."""

from collections.abc import Mapping
from typing import Literal

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.checkpoints import Checkpoint

Tokens = Literal['delta', 'frame', 'patch']
_SAY = ('say which with --tokens: delta (DeltaTok, as Amazon-FAR/deltatok-kinetics), frame '
        '(use_delta=false) or patch (DINO-world, without --tokenizer)')


def token_kind(
    files: Mapping[str, Checkpoint], tokens: Tokens | None,
) -> tuple[Tokens, list[str]]:
    """
    Return what the tokens are, and in words what was taken on the user's word.

    `files` has the world's file and the tokenizer's where there is one; files of our training
    hold their kind. Names and shapes of delta and frame tokenizers are the same, and so are those
    of their predictors and DINO-world's. Raise `UserError` where nothing tells, or where it
    contradicts `tokens`.
    """
    tokenizer, world = files.get('tokenizer'), files['world']
    told, by = _told(tokenizer, world)
    if told is not None:
        if tokens not in (None, told):
            raise UserError(f'--tokens {tokens}: {by} holds {told} tokens')
        return told, []
    if tokens is None:
        path = (tokenizer or world).path
        raise UserError(f'{path}: nothing in it tells what the tokens are; {_SAY}')
    if (tokens == 'patch') != (tokenizer is None):
        wrong = 'DINO-world has no tokenizer; leave --tokenizer out' if tokenizer else (
            'needs the tokenizer (--tokenizer FILE)')
        raise UserError(f'--tokens {tokens}: {wrong}')
    return tokens, [f'Taken as {tokens} tokens because of --tokens; the files do not tell']


def _told(
    tokenizer: Checkpoint | None, world: Checkpoint,
) -> tuple[Tokens | None, str]:
    """Return what the sizes in our own files say, and which file says it."""
    if world.sizes is not None and world.sizes.get('kind') in ('spatial', 'patches'):
        if tokenizer is not None:
            raise UserError(f'{world.path}: is DINO-world, which has no tokenizer; leave '
                            '--tokenizer out')
        return 'patch', str(world.path)
    if tokenizer is None or tokenizer.sizes is None:
        return None, ''
    frames = bool(tokenizer.sizes.get('frame_tokens'))
    return 'frame' if frames else 'delta', str(tokenizer.path)
