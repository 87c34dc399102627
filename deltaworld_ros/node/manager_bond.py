# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bond with Nav2's lifecycle manager, which waits for one from each node that it manages."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode

# As Nav2's own nodes have them.
TOPIC = 'bond'
HEARTBEAT_PERIOD = 0.1    # s
HEARTBEAT_TIMEOUT = 4.0   # s
# bondpy declares it whenever a manager goes silent, which raises at the second time.
_DECLARED_BY_BONDPY = '/bond_disable_heartbeat_timeout'


class ManagerBond:
    """
    Heartbeats on `bond` while the node is active, where bondpy is installed; else nothing.

    A manager that goes away ends the bond and changes nothing else: the next activation forms
    another.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._bond: Any = None
        try:
            from bondpy.bondpy import Bond
        except ImportError:
            self._kind: Any = None
            return

        class QuietBond(Bond):
            """A bond whose thread may still publish while the node ends."""

            def _publish(self, active: bool) -> None:
                try:
                    super()._publish(active)
                except Exception:
                    if node.context.ok():
                        raise

        self._kind = QuietBond

    def form(self) -> None:
        """Offer a bond from now on."""
        self.end()
        if self._kind is None:
            return
        if self._node.has_parameter(_DECLARED_BY_BONDPY):
            self._node.undeclare_parameter(_DECLARED_BY_BONDPY)
        # The manager knows nodes by their names without namespace.
        self._bond = self._kind(self._node, TOPIC, self._node.get_name())
        self._bond.heartbeat_period = HEARTBEAT_PERIOD
        self._bond.heartbeat_timeout = HEARTBEAT_TIMEOUT
        self._bond.start()

    def end(self) -> None:
        """End the bond in order, as somebody who deactivates the node expects."""
        bond, self._bond = self._bond, None
        if bond is not None:
            bond.shutdown()
            # bondpy destroys both, and leaves the node's list of them as it is.
            self._node.destroy_subscription(bond.sub)
            self._node.destroy_publisher(bond.pub)
