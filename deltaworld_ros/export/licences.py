# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a bundle states of the published weights inside it (needs torch)."""

from deltaworld_ros.bundle.manifest import Licence
from deltaworld_ros.model.protocols import Backbone


def weights_licences(backbone: Backbone | type[Backbone]) -> list[Licence]:
    """Return the licence of the backbone's published weights, none where it has none."""
    weights = backbone.published
    return [] if weights is None else [Licence(
        name=weights.licence, component=f'weights of {weights.name}', source=weights.source)]
