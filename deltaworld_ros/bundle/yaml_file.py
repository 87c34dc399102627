# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read YAML that others wrote: mappings, lists, texts, numbers, true, false and null, within limits.

YAML's other features are refused, or are plain text: tags make objects, `1:30` would be 90, a
date an object, and a page of aliases or digits can take gigabytes. Anchors and merge keys work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deltaworld_ros.bundle.files import read_bytes
from deltaworld_ros.errors import UserError

MAX_BYTES = 200_000
MAX_DEPTH = 20
MAX_VALUES = 20_000        # after aliases have been put in
MAX_NUMBER = 40            # characters
_CHARACTERS_A_VALUE = 100  # a long text counts as several values

# Those that YAML 1.1 reads as numbers too, except sexagesimal ones: texts that PyYAML writes
# without quotes stay texts.
_INTEGER = re.compile(
    r'[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)')
_FLOAT = re.compile(
    r'[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|'
    r'\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)')
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(('', '~', 'null', 'Null', 'NULL')),
    **dict.fromkeys(('yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'), True),
    **dict.fromkeys(('no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'), False)}
# Control characters can command a terminal; others turn the direction of a line.
_UNPRINTABLE = re.compile(
    '[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
_MERGE = '<<'


def read_yaml(path: Path, inside: bool = False) -> Any:
    """
    Return what the YAML file at `path` holds.

    Raise `UserError` in one line where it cannot be read, is not YAML of the kind above, is
    larger, deeper or longer than the limits, or, with `inside`, a link that leads out of its
    folder.
    """
    try:
        return parse_yaml(read_bytes(path, MAX_BYTES, inside).decode('utf-8-sig'), path)
    except UnicodeDecodeError:
        raise UserError(f'{path}: is not UTF-8 text') from None


def find_yaml(folder: Path, name_or_path: str, what: str) -> Path:
    """Return a shipped YAML file of a folder by name, or a path; `what` names it in errors."""
    path = Path(name_or_path)
    if not path.suffix:
        path = folder / f'{name_or_path}.yaml'
    if not path.is_file():
        names = ', '.join(sorted(file.stem for file in folder.glob('*.yaml')))
        raise UserError(
            f'{what} {name_or_path!r} not found; give a YAML file or one of: {names}')
    return path


def parse_yaml(text: str, source: object, most_values: int = MAX_VALUES) -> Any:
    """Return what a text holds, as `read_yaml` does; `source` names it in errors."""
    builder = _Builder(most_values)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except UserError as error:
        raise UserError(f'{source}: {error}') from None
    # PyYAML raises ValueErrors and others too, as for numbers that no character has.
    except (yaml.YAMLError, ValueError, OverflowError, IndexError, AttributeError) as error:
        raise UserError(
            f'{source}: not plain YAML: {" ".join(str(error).split())[:300]}') from None
    return builder.document


@dataclass
class _Open:
    """A list or mapping that has not ended; `values` counts all that it holds so far."""

    value: Any
    anchor: str | None
    values: int = 1
    key: Any = None
    has_key: bool = False
    merged: dict[Any, Any] = field(default_factory=dict)


class _Builder:
    """Builds values from parser events, without recursion, and stops at the first excess."""

    def __init__(self, most_values: int) -> None:
        self.document: Any = None
        self._most_values = most_values
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def take(self, event: yaml.Event) -> None:
        """Take in the next event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise UserError('must hold one document')
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise UserError(f'the alias *{str(event.anchor)[:50]} comes before what it stands '
                                'for')
            self._add(*self._anchors[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            _check_tag(event.tag)
            value = _scalar(event.value) if event.implicit[0] else _text(event.value)
            values = 1 + len(event.value) // _CHARACTERS_A_VALUE
            self._remember(event.anchor, value, values)
            self._add(value, values)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            _check_tag(event.tag)
            if len(self._open) == MAX_DEPTH:
                raise UserError(f'is nested more than {MAX_DEPTH} levels deep')
            mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open({} if mapping else [], event.anchor))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            ended = self._open.pop()
            if isinstance(ended.value, dict):
                # A mapping's own values go before merged ones.
                ended.value = {**ended.merged, **ended.value}
            self._remember(ended.anchor, ended.value, ended.values)
            self._add(ended.value, ended.values)

    def _remember(self, anchor: str | None, value: Any, values: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = value, values

    def _add(self, value: Any, values: int) -> None:
        """Put a whole value where it belongs."""
        if not self._open:
            self.document = value
            return
        into = self._open[-1]
        into.values += values
        if into.values > self._most_values:
            raise UserError(f'holds more than {self._most_values} values')
        if isinstance(into.value, list):
            into.value.append(value)
        elif not into.has_key:
            if isinstance(value, (dict, list)):
                raise UserError('has a mapping or list as a key; keys must be texts or numbers')
            into.key, into.has_key = value, True
        else:
            into.has_key = False
            if into.key == _MERGE:
                _merge(into.merged, value)
            elif into.key in into.value:
                raise UserError(f'has the key {str(into.key)[:80]!r} twice')
            else:
                into.value[into.key] = value


def _check_tag(tag: str | None) -> None:
    if tag is not None:
        raise UserError(f'has the tag {tag[:80]!r}; tags are not accepted')


def _merge(merged: dict[Any, Any], value: Any) -> None:
    """Take over the entries of a mapping, or of a list of them; the first goes before the rest."""
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise UserError(f'the merge key {_MERGE} must have a mapping, or a list of them')
        for key, entry in mapping.items():
            merged.setdefault(key, entry)


def _scalar(text: str) -> Any:
    """Return what a text without quotes stands for."""
    if text in _WORDS:
        return _WORDS[text]
    integer, floating = _INTEGER.fullmatch(text), _FLOAT.fullmatch(text)
    if not (integer or floating):
        return _text(text)
    if len(text) > MAX_NUMBER:
        raise UserError(f'has a number of {len(text)} characters, which begins {text[:10]}; at '
                        f'most {MAX_NUMBER} are accepted')
    digits = text.replace('_', '')
    if floating:
        return float(re.sub(r'\.(inf|nan)', r'\1', digits.lower()))
    sign, digits = (-1 if digits[0] == '-' else 1), digits.lstrip('+-')
    for prefix, base in (('0b', 2), ('0x', 16), ('0', 8)):
        if digits.startswith(prefix) and digits != '0':
            return sign * int(digits[len(prefix):] or '0', base)
    return sign * int(digits)


def _text(text: str) -> str:
    found = _UNPRINTABLE.search(text)
    if found:
        raise UserError(f'has a text with the control character {found[0]!r}')
    return text
