# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run the graphs of a bundle on this machine, through one small interface."""

from deltaworld_ros.engine.interface import (
    Engine,
    EngineUnavailable,
    Features,
    LeadDecoding,
    OutOfDeviceMemory,
)
from deltaworld_ros.engine.paint import PaintingGraph
from deltaworld_ros.engine.parity import ParityReport, check_parity
from deltaworld_ros.engine.select import ENGINES, load_engine, start_engine

__all__ = [
    'ENGINES',
    'Engine',
    'EngineUnavailable',
    'Features',
    'LeadDecoding',
    'OutOfDeviceMemory',
    'PaintingGraph',
    'ParityReport',
    'check_parity',
    'load_engine',
    'start_engine',
]
