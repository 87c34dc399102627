# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics of one camera: who listens decides what is computed and published."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher

from deltaworld_ros.forecast.lead_name import lead_name
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.outputs import Leads, Needs, Output


@dataclass(frozen=True, eq=False)
class Topic:
    """One topic of an output; `lead` counts the leads, 0 is the present."""

    output: Output
    lead: int
    publisher: Publisher


@dataclass(frozen=True)
class Request:
    """
    The leads whose maps somebody needs, in order, and whether each future's maps too.

    `score` and `bound` tell whether somebody listens to the self-score and to bounds, `pictures`
    are the leads to paint.
    """

    leads: tuple[int, ...]
    futures: bool
    score: bool
    pictures: tuple[int, ...] = ()
    bound: bool = False

    @property
    def ahead(self) -> bool:
        """Return whether more than the present is needed."""
        return any(lead > 0 for lead in self.leads)


class ForecastPublishers:
    """
    Publishers of every row of an output table, `~/lead_<ms>ms/<name>` or `~/<name>`.

    `leads` are in seconds, without the present. `prefix` comes before these names. The publishers
    are made when the node is configured and publish while it is active.
    """

    def __init__(self, node: LifecycleNode, table: Sequence[Output], leads: Sequence[float],
                 prefix: str = '~') -> None:
        self._node = node
        self._num_leads = 1 + len(leads)
        self._topics: list[Topic] = []
        for output in table:
            if output.leads is Leads.ALL:
                names = {0: output.name}
            else:
                names = {lead: f'{lead_name(seconds)}/{output.name}'
                         for lead, seconds in enumerate((0.0, *leads))
                         if lead > 0 or output.leads is Leads.EACH}
            self._topics += [
                Topic(output, lead, node.create_lifecycle_publisher(
                    output.message_type, f'{prefix}/{name}', output.qos))
                for lead, name in names.items()]

    def wanted(self) -> list[Topic]:
        """Return the topics that have subscribers now, in the order of the table."""
        return [topic for topic in self._topics if topic.publisher.get_subscription_count() > 0]

    def request(self, wanted: Collection[Topic]) -> Request:
        """Return which part of a forecast the topics are made of."""
        leads: set[int] = set()
        futures = False
        for topic in wanted:
            needs = topic.output.needs
            # Bounds are learned at every lead.
            whole = topic.output.leads is Leads.ALL or needs is Needs.BOUND
            if not needs.late:
                leads.update(range(self._num_leads) if whole else (topic.lead,))
            # There is only one present.
            futures |= needs is Needs.FUTURES and (whole or topic.lead > 0)
        score, bound = (any(topic.output.needs is needs for topic in wanted)
                        for needs in (Needs.SCORE, Needs.BOUND))
        pictures = {topic.lead for topic in wanted if topic.output.needs is Needs.PICTURE}
        return Request(tuple(sorted(leads)), futures, score, tuple(sorted(pictures)), bound)

    def publish(self, wanted: Collection[Topic], result: FrameResult) -> int:
        """Publish what the result has maps for on the wanted topics; return their number."""
        number = 0
        for topic in wanted:
            output = topic.output
            lead_is_there = topic.lead < result.num_leads and (
                output.leads is not Leads.ALL or result.num_leads == self._num_leads)
            if not (output.always or lead_is_there):
                continue
            message = output.make(result, topic.lead)
            if message is not None:
                topic.publisher.publish(message)
                number += 1
        return number

    def destroy(self) -> None:
        """Take the topics away."""
        for topic in self._topics:
            self._node.destroy_lifecycle_publisher(topic.publisher)
