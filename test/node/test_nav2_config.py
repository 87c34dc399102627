# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The configurations for Nav2 and the governor fit the node's topics, classes and parameters."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.node.governor_parameters import GOVERNOR_PARAMETERS
from deltaworld_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config' / 'nav2'


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding='utf-8'))


def values(tree: Any) -> list[tuple[str, Any]]:
    """List the names and values of a tree of mappings."""
    return [pair for name, value in tree.items()
            for pair in (values(value) if isinstance(value, dict) else [(name, value)])]


def test_topics_are_those_of_the_node() -> None:
    pytest.importorskip('rclpy')
    from deltaworld_ros.node.outputs import Leads, output_table

    names = {output.name for output in output_table(6, False, True)}
    whole = {output.name for output in output_table(6, False, True)
             if output.leads is Leads.ALL} | {'vision_label_info'}
    found = [value for file in sorted(CONFIG.glob('*.yaml')) for name, value in values(read(file))
             if isinstance(value, str) and value.startswith('/forecast/')]
    assert len(found) == 6
    for topic in found:
        lead, _, name = topic.removeprefix('/forecast/').partition('/')
        assert name in names if name else lead in whole, topic


def unknown(given: dict[str, Any], known: list[str], nested: tuple[str, ...] = ()) -> set[str]:
    """Return names that a consumer does not declare, besides `nested`, which are mappings."""
    assert all(isinstance(given[name], dict) for name in nested)
    return set(given) - set(known) - set(nested)


def test_the_consumers_have_all_these_parameters() -> None:
    """Nav2 ignores a parameter that it does not declare, without a word."""
    known = read(ROOT / 'test' / 'data' / 'nav2_parameters.yaml')

    monitor = read(CONFIG / 'collision_monitor.yaml')['collision_monitor']['ros__parameters']
    table = known['collision_monitor']
    polygons, sources = monitor['polygons'], monitor['observation_sources']
    wrong = unknown(monitor, table['node'], (*polygons, *sources))
    wrong |= {one for name in polygons for one in unknown(monitor[name], table['polygon'])}
    wrong |= {one for name in sources for one in unknown(monitor[name], table['pointcloud'])}

    costmap = read(CONFIG / 'costmap.yaml')['local_costmap']['local_costmap']['ros__parameters']
    table, layer = known['costmap'], costmap['obstacle_layer']
    sources = layer['observation_sources'].split()
    wrong |= unknown(costmap, table['node'], tuple(costmap['plugins']))
    wrong |= unknown(layer, table['obstacle_layer'], tuple(sources))
    wrong |= {one for name in sources for one in unknown(layer[name], table['obstacle_source'])}
    wrong |= unknown(costmap['inflation_layer'], table['inflation_layer'])

    costmap = read(CONFIG / 'semantic_layer.yaml')[
        'local_costmap']['local_costmap']['ros__parameters']
    table, layer = known['semantic_layer'], costmap['semantic_segmentation_layer']
    sources = layer['observation_sources'].split()
    wrong |= unknown(costmap, known['costmap']['node'], tuple(costmap['plugins']))
    wrong |= unknown(layer, table['layer'], tuple(sources))
    for name in sources:
        types = layer[name]['class_types']
        wrong |= unknown(layer[name], table['source'], tuple(types))
        wrong |= {one for kind in types for one in unknown(
            layer[name][kind], table['class_type'])}
    assert not wrong


def test_every_class_of_the_shipped_bundle_has_a_cost() -> None:
    layer = read(CONFIG / 'semantic_layer.yaml')['local_costmap']['local_costmap'][
        'ros__parameters']['semantic_segmentation_layer']['forecast']
    roles = {name: layer[name]['classes'] for name in layer['class_types']}
    for entry in load_bundle('street-lite0').manifest.classes:
        assert entry.name in roles[entry.role]


def test_tiles_reach_their_highest_cost_before_their_samples_decay() -> None:
    layer = read(CONFIG / 'semantic_layer.yaml')['local_costmap']['local_costmap'][
        'ros__parameters']['semantic_segmentation_layer']['forecast']
    stride = load_bundle('street-lite0').manifest.stride
    for name in layer['class_types']:
        samples = max(1, layer[name]['samples_to_max_cost'])
        # The newest sample has its age on arrival, and that of a stride before the next is here.
        assert layer['tile_map_decay_time'] >= 0.3 + samples * stride, name


def test_the_monitor_s_simulated_robot_does_not_step_over_a_point() -> None:
    monitor = read(CONFIG / 'collision_monitor.yaml')['collision_monitor']['ros__parameters']
    fastest = next(row.default for row in GOVERNOR_PARAMETERS if row.name == 'max_speed')
    for polygon in (monitor[name] for name in monitor['polygons']):
        assert fastest * polygon['simulation_time_step'] <= polygon['radius']


def test_frames_are_those_of_the_node() -> None:
    base = next(row.default for row in PARAMETERS if row.name == 'base_frame')
    named = [value for file in CONFIG.glob('*.yaml') for name, value in values(read(file))
             if name in ('base_frame_id', 'robot_base_frame')]
    assert set(named) == {base}


def test_parameters_of_the_governor() -> None:
    given = read(ROOT / 'config' / 'speed_governor.yaml')['/**']['ros__parameters']
    assert given == {row.name: row.default for row in GOVERNOR_PARAMETERS}


def test_the_planner_s_launch_hands_on_arguments_that_exist() -> None:
    def strings(name: str, assigned: str) -> set[str]:
        tree = ast.parse((ROOT / 'launch' / name).read_text(encoding='utf-8'))
        if assigned:
            value = next(node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)
                         and ast.unparse(node.targets[0]) == assigned)
            return set(ast.literal_eval(value))
        return {ast.literal_eval(node.args[0]) for node in ast.walk(tree)
                if isinstance(node, ast.Call) and ast.unparse(node.func) == 'DeclareLaunchArgument'
                and isinstance(node.args[0], ast.Constant)}

    assert strings('planner.launch.py', 'FORECAST_ARGUMENTS') <= strings('forecast.launch.py', '')
