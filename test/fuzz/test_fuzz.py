# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few cases of each fuzzer; `make fuzz` runs thousands."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from support.fuzzing import fuzz

NUMBER = 60
FUZZERS = [(module, name) for module in sorted(
    file.stem for file in Path(__file__).parent.glob('fuzz_*.py'))
    for name in importlib.import_module(f'fuzz.{module}').CASES]


@pytest.mark.parametrize(('module', 'name'), FUZZERS)
def test_nothing_but_clear_refusals(module: str, name: str) -> None:
    case, _ = importlib.import_module(f'fuzz.{module}').CASES[name]
    outcome = fuzz(case, range(NUMBER), seed=1, megabytes=2500)
    assert not outcome.failures, '\n'.join(outcome.failures[:3])
    assert sum(outcome.kinds.values()) == NUMBER
