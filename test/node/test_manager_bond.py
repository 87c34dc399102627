# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node does with bondpy, without its messages; the real ones: test_optional_messages."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip('rclpy')

from deltaworld_ros.node.manager_bond import ManagerBond


class Node:
    """The few calls of a node that a bond needs; it lists what was destroyed."""

    def __init__(self) -> None:
        self.parameters = {'/bond_disable_heartbeat_timeout'}
        self.destroyed: list[str] = []

    def get_name(self) -> str:
        return 'forecast'

    def has_parameter(self, name: str) -> bool:
        return name in self.parameters

    def undeclare_parameter(self, name: str) -> None:
        self.parameters.remove(name)

    def destroy_subscription(self, one: str) -> None:
        self.destroyed.append(one)

    def destroy_publisher(self, one: str) -> None:
        self.destroyed.append(one)


@pytest.fixture
def bonds(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put a bondpy in place whose bonds are listed."""
    made: list[Any] = []

    class Bond:
        def __init__(self, node: Node, topic: str, identifier: str) -> None:
            self.given, self.calls = (node, topic, identifier), []
            self.sub, self.pub = f'sub {len(made)}', f'pub {len(made)}'
            made.append(self)

        def start(self) -> None:
            self.calls.append(('start', self.heartbeat_period, self.heartbeat_timeout))

        def shutdown(self) -> None:
            self.calls.append('shutdown')
    package, module = ModuleType('bondpy'), ModuleType('bondpy.bondpy')
    module.Bond = Bond
    monkeypatch.setitem(sys.modules, 'bondpy', package)
    monkeypatch.setitem(sys.modules, 'bondpy.bondpy', module)
    return made


def test_a_bond_is_formed_and_ended_as_nav2_expects(bonds: list[Any]) -> None:
    """By the node's name on `bond`, every 0.1 s, for 4 s; it leaves nothing behind."""
    node = Node()
    bond = ManagerBond(node)
    assert not bonds   # nobody waits before the node is active
    bond.form()
    [one] = bonds
    assert one.given == (node, 'bond', 'forecast')
    assert one.calls == [('start', 0.1, 4.0)] and not node.parameters
    bond.end()
    assert one.calls[1:] == ['shutdown'] and node.destroyed == ['sub 0', 'pub 0']
    bond.end()
    assert len(node.destroyed) == 2


def test_an_activation_ends_the_bond_before(bonds: list[Any]) -> None:
    """Two activations never hold two bonds."""
    bond = ManagerBond(Node())
    bond.form()
    bond.form()
    assert bonds[0].calls[-1] == 'shutdown' and bonds[1].calls == [('start', 0.1, 4.0)]


def test_without_bondpy_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager without `bond_timeout` needs none."""
    monkeypatch.setitem(sys.modules, 'bondpy', None)
    monkeypatch.setitem(sys.modules, 'bondpy.bondpy', None)
    node = Node()
    bond = ManagerBond(node)
    bond.form()
    bond.end()
    assert node.parameters and not node.destroyed
