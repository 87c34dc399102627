# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""YAML from strangers: what is read, and what is refused before it costs time or memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from deltaworld_ros.bundle.class_lists import class_list
from deltaworld_ros.bundle.yaml_file import MAX_BYTES, parse_yaml, read_yaml
from deltaworld_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('text, value', [
    ('', None), ('~', None), ('a: 1\nb: [1.5, -2, x]', {'a': 1, 'b': [1.5, -2, 'x']}),
    ('[0x1F, 0b101, 017, 1_000, +3, .5, 1., -.inf, 1.5e+3]',
     [31, 5, 15, 1000, 3, 0.5, 1.0, float('-inf'), 1500.0]),
    ('[yes, No, on, "yes", null]', [True, False, True, 'yes', None]),
    # Sexagesimal numbers and dates are texts.
    ('[1:30, 1:2:3.5, 2026-13-45, 2026-01-01]', ['1:30', '1:2:3.5', '2026-13-45', '2026-01-01']),
    ('[1e3, 0o9, =, 1.5.2]', ['1e3', '0o9', '=', '1.5.2']),
    ('a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: *x',
     {'a': {'k': 1, 'l': 2}, 'b': {'k': 1, 'l': 3}, 'c': {'k': 1, 'l': 2}}),
    ('a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}',
     {'a': {'k': 1}, 'b': {'k': 2, 'm': 3}, 'c': {'k': 1, 'm': 3}}),
])
def test_what_is_read(text: str, value: Any) -> None:
    assert parse_yaml(text, 'x') == value


def test_recipes_read_as_pyyaml_reads_them() -> None:
    """Shipped recipes hold no date, tag or sexagesimal number: both readers must agree."""
    files = sorted((ROOT / 'training').rglob('*.yaml'))
    assert len(files) > 5
    for file in (*files, *ROOT.glob('deltaworld_ros/bundles/*/bundle.yaml')):
        assert read_yaml(file) == yaml.safe_load(file.read_text()), file


@pytest.mark.parametrize('value', [
    'a', '1', '1e3', '1.0', 'yes', '2026-01-01', '1:30', '', '~', '<<', '=', 'é\n b', "'", 'x: y',
    12, -3, 1e300, 0.1, float('inf'), True, None, [], {}])
def test_what_pyyaml_writes_comes_back(value: Any) -> None:
    text = yaml.safe_dump({'value': value}, allow_unicode=True)
    assert parse_yaml(text, 'x') == {'value': value}


MERGES = 'a0: &a0 {' + ', '.join(f'k{i}: 1' for i in range(10)) + '}\n' + ''.join(
    f'a{i}: &a{i} {{<<: [{", ".join([f"*a{i - 1}"] * 9)}]}}\n' for i in range(1, 9))
ALIASES = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 9))


@pytest.mark.parametrize('text, says', [
    ('[' * 100_000, 'nested more than 20 levels'), ('- ' * 90_000, 'nested more than 20'),
    ('{a: ' * 10_000, 'nested more than 20'),
    ('a: ' + '9' * 100_000, 'a number of 100000 characters'),
    ('a: 0x' + 'f' * 5000, 'a number of 5002 characters'),
    ('a: 1.' + '0' * 5000, 'a number of 5002 characters'),
    (MERGES, 'more than 20000 values'), (ALIASES, 'more than 20000 values'),
    ('[' + 'x,' * 50_000 + ']', 'more than 20000 values'),
    ('a: &a ' + 'x' * 100_000 + '\nb: [' + '*a ,' * 20_000 + ']', 'more than 20000 values'),
    ('a: !!int ""', 'the tag'), ('a: !!float ""', 'the tag'), ('a: !!bool x', 'the tag'),
    ('a: !!timestamp x', 'the tag'), ('a: !x 1', 'the tag'), ('a: ! 1', 'the tag'),
    ('a: !!python/object/apply:os.system ["touch hacked"]', 'the tag'),
    ('a: !!str [a]', 'the tag'), ('!!map {a: 1}', 'the tag'),
    ('&a [*a]', 'the alias'), ('a: *b', 'the alias'), ('a: {<<: 1}', 'merge key'),
    ('? {a: b}\n: c', 'as a key'), ('a: 1\na: 2', 'twice'), ('a: 1\n---\nb: 2', 'one document'),
    ('a: "\\x1b[2J"', 'control character'), ('a: "\\ud800"', 'control character'),
    ('a: "\\0"', 'control character'), ('a: "\\u202e"', 'control character'),
    ('a: b: c', 'not plain YAML'), ('%YAML 9.9\n---\na: 1', 'not plain YAML'),
    ('a: "\\UFFFFFFFF"', 'not plain YAML'), ('[1', 'not plain YAML'), ('\t- x', 'not plain YAML'),
    ('@', 'not plain YAML'), ('a: \x00', 'not plain YAML'),
])
def test_what_is_refused_at_once(text: str, says: str) -> None:
    started = time.process_time()
    with pytest.raises(UserError, match=says) as caught:
        parse_yaml(text, 'name.yaml')
    assert time.process_time() - started < 5
    assert str(caught.value).startswith('name.yaml: ') and '\n' not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'x.yaml'
    for says in ('no such file', 'a folder', 'a pipe', 'a device', 'not UTF-8', 'larger than'):
        if says == 'a folder':
            path.mkdir()
        elif says == 'a pipe':
            path.rmdir()
            os.mkfifo(path)
        elif says == 'a device':
            path.unlink()
            path.symlink_to('/dev/zero')
        elif says == 'not UTF-8':
            path.unlink()
            path.write_bytes(b'a: \xff\xfe')
        elif says == 'larger than':
            path.write_bytes(b'#' * (MAX_BYTES + 1))
        with pytest.raises(UserError, match=says):
            read_yaml(path)


@pytest.mark.parametrize('text', ['a: 1', '[1, 2]', '[{name: a}]', '!!set {a}', '[a, b'])
def test_class_lists_are_read_the_same_way(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'classes.yaml'
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        class_list(str(path), 2, 'head')
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
