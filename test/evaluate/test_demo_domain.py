# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Demos beside each other take ROS domains of their own, without files that others could lay."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaworld_ros.evaluate.demo import own_domain


def test_domains_differ_and_are_given_back():
    with own_domain() as first, own_domain() as second:
        assert first != second and {first, second} <= set(range(1, 102))
    with own_domain() as again:
        assert again == first


def test_links_in_the_shared_folder_are_not_followed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In 0.1.0 a link of the lock's name had its target emptied."""
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    shared = tmp_path / 'shared'
    shared.mkdir()
    for domain in range(1, 102):
        (shared / f'deltaworld_demo_domain_{domain}_0').symlink_to(victim)
    before = sorted(shared.iterdir())
    monkeypatch.setenv('TMPDIR', str(shared))
    with own_domain():
        assert sorted(shared.iterdir()) == before
    assert victim.read_text() == 'precious'
