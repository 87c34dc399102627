# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch file, the viewers' configurations and docs/parameters.md agree with the node."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deltaworld_ros.node.launch_arguments import FORECAST_LAUNCH
from deltaworld_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILE = ROOT / 'launch' / 'forecast.launch.py'


def calls(function: str) -> list[ast.Call]:
    """Find the calls of a function in the launch file."""
    return [node for node in ast.walk(ast.parse(LAUNCH_FILE.read_text(encoding='utf-8')))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == function]


def keyword(call: ast.Call, name: str) -> ast.expr:
    return next(keyword.value for keyword in call.keywords if keyword.arg == name)


def declared_arguments() -> dict[str, ast.Call]:
    return {ast.literal_eval(call.args[0]): call for call in calls('DeclareLaunchArgument')}


def test_declares_exactly_the_arguments():
    assert list(declared_arguments()) == list(FORECAST_LAUNCH)


def test_the_docs_name_exactly_the_arguments():
    table = re.search(r'^\| *launch argument *\|.*?\n\|[-| :]+\n((?:\|.*\n)+)',
                      (ROOT / 'docs/parameters.md').read_text(encoding='utf-8'), re.MULTILINE)
    assert table, 'docs/parameters.md has no table whose first column is "launch argument"'
    rows = [line.split('|')[1:3] for line in table[1].splitlines()]
    documented = {name.strip(' `'): default.strip(' `') for name, default in rows}
    assert list(documented) == list(FORECAST_LAUNCH)
    for name, call in declared_arguments().items():
        default = keyword(call, 'default_value')
        if isinstance(default, ast.Constant):
            assert documented[name] == default.value, name


def test_arguments_override_parameters_that_exist():
    names = {row.name: type(row.default) for row in PARAMETERS} | {'use_sim_time': bool}
    types = next(node.value for node in ast.walk(ast.parse(LAUNCH_FILE.read_text()))
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'types')
    assert isinstance(types, ast.Dict)
    overridden = {ast.literal_eval(key): ast.unparse(value)  # type: ignore[arg-type]
                  for key, value in zip(types.keys, types.values, strict=True)}
    assert {name: names[name].__name__ for name in overridden} == overridden


def test_transport_offers_what_the_node_accepts():
    row = next(row for row in PARAMETERS if row.name == 'transport')
    choices = ast.literal_eval(keyword(declared_arguments()['transport'], 'choices'))
    assert tuple(choices) == ('', *row.choices)


def test_parameters_file_has_only_known_parameters_with_accepted_values():
    content = yaml.safe_load((ROOT / 'config' / 'forecast.yaml').read_text(encoding='utf-8'))
    given = content['/**']['ros__parameters']
    rows = {row.name: row for row in PARAMETERS}
    assert given
    for name, value in given.items():
        rows[name].check(value)


def viewer_topics() -> set[str]:
    """Return the topics of the forecast node that the RViz and Foxglove configurations show."""
    rviz = yaml.safe_load((ROOT / 'config' / 'forecast.rviz').read_text(encoding='utf-8'))
    displays = rviz['Visualization Manager']['Displays']
    layout = json.loads((ROOT / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8'))
    panels = layout['configById']

    def leaves(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else leaves(node['first']) + leaves(node['second'])

    assert sorted(leaves(layout['layout'])) == sorted(panels)
    planner = yaml.safe_load((ROOT / 'config' / 'planner.rviz').read_text(encoding='utf-8'))
    above = planner['Visualization Manager']['Displays']
    assert {display['Class'] for display in displays} == {'rviz_default_plugins/Image'}
    return ({display['Topic']['Value'] for display in (*displays, *above)}
            | set(panels['3D!planner']['topics'])
            | {panel['imageMode']['imageTopic'] for panel in panels.values()
               if 'imageMode' in panel})


@pytest.fixture
def node(tiny_bundle: Path):
    rclpy = pytest.importorskip('rclpy', reason='the node needs rclpy')
    from rclpy.parameter import Parameter
    from support.ros_session import own_domain

    from deltaworld_ros.node.forecast_node import ForecastNode

    with own_domain() as domain:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = ForecastNode(context=context, parameter_overrides=[
            Parameter('bundle', value=str(tiny_bundle))])
        yield node
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_names_are_those_of_the_node(node: Any):
    node.trigger_configure()
    node.trigger_activate()
    topics = {name for name, _ in node.get_topic_names_and_types()}
    assert viewer_topics() and viewer_topics() <= topics
    launched = calls('LifecycleNode')[0]
    assert ast.literal_eval(keyword(launched, 'name')) == node.get_name()
    remapped = keyword(launched, 'remappings')
    assert isinstance(remapped, ast.List)
    sources = {ast.literal_eval(pair.elts[0]) for pair in remapped.elts
               if isinstance(pair, ast.Tuple)}
    assert {'/image', '/camera_info', '/odom'} <= topics
    assert sources == {'image', 'image/compressed', 'camera_info', 'odom'}


def test_image_panels_show_pictures():
    """Class ids are nearly black, and depth in metres is white in viewers that show 0 to 1."""
    layout = (ROOT / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8')
    topics = re.findall(r'"imageTopic": "([^"]+)"', layout)
    assert topics and {topic.rsplit('/', 1)[1] for topic in topics} == {'view', 'confidence'}


def test_plots_read_diagnostics_that_the_node_publishes():
    pytest.importorskip('rclpy', reason='the diagnostics need their messages')
    from deltaworld_ros.node import diagnostic_messages

    layout = (ROOT / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8')
    keys = re.findall(r'key==\\"(\w+)\\"', layout)
    assert keys
    for key in keys:
        assert f"'{key}'" in inspect.getsource(diagnostic_messages.values)


@pytest.fixture
def launch_module() -> Any:
    pytest.importorskip('launch.actions', reason='launch comes with a ROS 2 installation')
    pytest.importorskip('launch_ros.actions', reason='launch_ros comes with a ROS 2 installation')
    spec = importlib.util.spec_from_file_location('forecast_launch', LAUNCH_FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(module: Any, monkeypatch: pytest.MonkeyPatch, **arguments: str
            ) -> tuple[str, list[str]]:
    """Follow the launch description up to the node; give its full name and its command line."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.utilities import perform_substitutions
    from launch_ros.actions import LifecycleNode

    monkeypatch.setattr(module, 'get_package_share_directory', lambda package: str(ROOT))
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    entities = module.generate_launch_description().entities
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
    start, = (entity for entity in entities if isinstance(entity, OpaqueFunction))
    node, = start.visit(context)
    assert isinstance(node, LifecycleNode)
    node._perform_substitutions(context)
    # Node sets these while it starts the process, which needs an installed package.
    context.extend_locals({'ros_specific_arguments': {'name': '', 'ns': ''}})
    return node.node_name, [perform_substitutions(context, part) for part in node.cmd[1:]]


def parameters_of(command: list[str]) -> dict[str, Any]:
    """Merge the parameter files of a command line as rcl does: later ones win."""
    merged: dict[str, Any] = {}
    for flag, value in zip(command, command[1:], strict=False):
        if flag == '--params-file':
            for node in yaml.safe_load(Path(value).read_text()).values():
                merged.update(node['ros__parameters'])
    return merged


def test_empty_arguments_leave_the_parameters_file_alone(
        launch_module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters:\n    bundle: mine\n    transport: compressed\n'
                    '    use_sim_time: true\n')
    _, command = started(launch_module, monkeypatch, params_file=str(file))
    assert parameters_of(command) == {
        'bundle': 'mine', 'transport': 'compressed', 'use_sim_time': True, 'autostart': True}


def test_arguments_reach_the_node(launch_module: Any, monkeypatch: pytest.MonkeyPatch):
    name, command = started(
        launch_module, monkeypatch, namespace='front', bundle='123', transport='compressed',
        image='/camera/image_raw', camera_info='/camera/info', use_sim_time='True',
        autostart='false', log_level='debug')
    parameters = parameters_of(command)
    assert parameters['bundle'] == '123'
    assert parameters['transport'] == 'compressed'
    assert parameters['use_sim_time'] is True
    assert parameters['autostart'] is False
    assert name == '/front/forecast'
    for remapping in ('image:=/camera/image_raw',
                      'image/compressed:=/camera/image_raw/compressed',
                      'camera_info:=/camera/info'):
        assert remapping in command
    assert command[command.index('--log-level') + 1] == 'debug'


@pytest.mark.parametrize(('argument', 'value'), [
    ('transport', 'theora'), ('use_sim_time', 'maybe'), ('autostart', ''), ('log_level', 'loud'),
    ('params_file', '/not/there.yaml')])
def test_bad_arguments_are_named(launch_module: Any, monkeypatch: pytest.MonkeyPatch,
                                 argument: str, value: str):
    with pytest.raises((RuntimeError, FileNotFoundError), match=argument):
        started(launch_module, monkeypatch, **{argument: value})
