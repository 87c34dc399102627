# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The deployable artefact: a folder with three graphs and a manifest that describes them."""

from deltaworld_ros.bundle.load import Bundle, find_bundle, load_bundle
from deltaworld_ros.bundle.manifest import Licence, Manifest, write_manifest
from deltaworld_ros.bundle.semantic_class import SemanticClass

__all__ = [
    'Bundle',
    'Licence',
    'Manifest',
    'SemanticClass',
    'find_bundle',
    'load_bundle',
    'write_manifest',
]
