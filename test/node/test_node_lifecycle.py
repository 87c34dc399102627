# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle, and what starts, refuses to start, or fails, over DDS in separate processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from support.ros_session import ROOT, Client, own_domain, running
from support.tiny_bundle import write_tiny_bundle

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.forecast_node import ForecastNode
from deltaworld_ros.node.transitions import refuse_impossible_transitions

pytestmark = pytest.mark.live

MEGABYTE = 2**20


@pytest.fixture(scope='module')
def large_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a bundle whose engine takes so much memory that one that is kept stands out."""
    return write_tiny_bundle(tmp_path_factory.mktemp('bundles') / 'large', image_width=640,
                             image_height=384, feature_size=32, token_size=72)


def test_up_and_down_three_times_without_growth(large_bundle: Path, tmp_path: Path) -> None:
    # Freed blocks of this size go back to the system at once, so that what stays is a leak.
    malloc = {'MALLOC_MMAP_THRESHOLD_': '65536'}
    with running(tmp_path / 'log', environment=malloc, bundle=large_bundle,
                 threads=1) as client:
        maps = client.subscribe(Image, 'lead_200ms/segmentation')
        used = []
        for cycle in range(4):   # the first one warms up
            assert client.state == 'unconfigured'
            assert not client.change_state('activate')   # which does not fit the state
            assert client.change_state('configure') and client.state == 'inactive'
            assert client.images.get_subscription_count() == 0
            assert client.change_state('activate') and client.state == 'active'
            client.connect()
            maps.clear()
            client.feed_until(lambda: len(maps) > 3, f'forecasts in cycle {cycle}')
            running_bytes = client.process.resident_bytes()
            assert client.change_state('deactivate') and client.state == 'inactive'
            client.wait(lambda: client.images.get_subscription_count() == 0, 'unsubscription')
            assert client.change_state('cleanup')
            used.append(client.process.resident_bytes())
            client.infos.clear()
        engine_bytes = running_bytes - used[-1]
        print(f'resident MB after each cleanup: {[round(n / MEGABYTE, 1) for n in used]}, '
              f'freed by the last: {engine_bytes / MEGABYTE:.1f}')
        # One engine that stayed would add more than the three cycles together may.
        assert engine_bytes > 16 * MEGABYTE
        assert used[-1] - used[0] < 8 * MEGABYTE
        restarts = client.fresh_diagnostics()['context_restarts: the node was deactivated']
        assert restarts == '4'
        assert len(client.process.lines('transition refused while unconfigured')) == 4
        assert client.change_state('unconfigured_shutdown') and client.state == 'finalized'


def test_a_bad_bundle_fails_to_configure_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle='/no/such/bundle', autostart=True) as client:
        client.wait(lambda: client.diagnostics_level == 2, 'an error in the diagnostics')
        assert 'neither a folder nor a shipped bundle' in client.diagnostics_text
        assert client.state == 'unconfigured'
        assert not client.change_state('configure') and client.state == 'unconfigured'
        assert not client.reset_context().success
        assert len(client.process.lines('neither a folder nor a shipped bundle')) == 2
        assert 'Traceback' not in client.process.log


def test_more_futures_than_samples_fail_to_configure(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, num_samples=3, num_futures=5) as client:
        assert not client.change_state('configure') and client.state == 'unconfigured'
        assert len(client.process.lines('configure failed')) == 1
        assert 'Traceback' not in client.process.log


def test_a_bad_parameter_ends_the_start_in_one_line() -> None:
    result = subprocess.run(
        [sys.executable, '-m', 'deltaworld_ros.node.forecast_node', '--ros-args',
         '-p', 'output_width:=7'],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.strip() == (
        'forecast_node: parameter output_width is 7; accepted: integer, 16 to 1920')


@pytest.mark.parametrize(('name', 'value', 'line'), [
    ('transport', 'pigeon', "transport is 'pigeon'; accepted: string, raw | compressed"),
    ('max_gap', 3, 'max_gap is 3; accepted: double, 0.05 to 60.0'),
    ('threads', 'many', "threads is 'many'; accepted: integer, 0 to 256"),
    ('engine', 'steam', "engine is 'steam'; accepted: string, auto | tensorrt | onnxruntime | "),
])
def test_bad_parameters_are_refused_with_what_is_accepted(
        name: str, value: object, line: str) -> None:
    context = rclpy.Context()
    with own_domain() as domain:
        rclpy.init(context=context, domain_id=domain)
        try:
            with pytest.raises(UserError) as caught:
                ForecastNode(context=context, parameter_overrides=[
                    rclpy.parameter.Parameter(name, value=value)])
        finally:
            rclpy.shutdown(context=context)
    assert str(caught.value).startswith(f'parameter {line}')


@contextmanager
def node_here(kind: type[LifecycleNode] = ForecastNode) -> Iterator[Any]:
    """Yield a node in this process."""
    context = rclpy.Context()
    with own_domain() as domain:
        rclpy.init(context=context, domain_id=domain)
        try:
            node = kind('forecast', context=context)
            yield node
            node.destroy_node()
        finally:
            rclpy.shutdown(context=context)


def test_rclpy_needs_the_guard_of_impossible_transitions() -> None:
    """When this fails, an rclpy has come that does not: see `transitions`."""
    activate = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    with node_here(LifecycleNode) as plain, pytest.raises(RuntimeError):
        plain._service_change_state.callback(activate, ChangeState.Response())
    with node_here() as node:
        answer = node._service_change_state.callback(activate, ChangeState.Response(success=True))
        assert not answer.success


def test_node_starts_where_rclpy_keeps_its_service_elsewhere(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(node: Any, state: Callable[[], str]) -> None:
        service = node._service_change_state
        del node._service_change_state
        refuse_impossible_transitions(node, state)
        node._service_change_state = service

    monkeypatch.setattr(
        'deltaworld_ros.node.forecast_node.refuse_impossible_transitions', elsewhere)
    with node_here() as node:
        activate = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
        with pytest.raises(RuntimeError):
            node._service_change_state.callback(activate, ChangeState.Response())


def set_parameter(client: Client, name: str, value: float | str | int) -> tuple[bool, str]:
    if isinstance(value, str):
        content = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    elif isinstance(value, int):
        content = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
    else:
        content = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    answer = client.call(SetParameters, 'set_parameters',
                         parameters=[Parameter(name=name, value=content)])
    return answer.results[0].successful, answer.results[0].reason


def test_parameters_change_in_their_range_and_shutdown_frees_everything(
        tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True) as client:
        descriptors = client.call(DescribeParameters, 'describe_parameters',
                                  names=['output_width', 'bundle']).descriptors
        assert descriptors[0].integer_range[0].to_value == 1920
        assert not descriptors[0].read_only and descriptors[1].read_only
        assert descriptors[0].description and descriptors[1].description
        accepted, reason = set_parameter(client, 'output_width', 9999)
        assert not accepted and 'Min: 16, Max: 1920' in reason
        accepted, reason = set_parameter(client, 'fit', 'squash')
        assert not accepted and 'read-only' in reason
        accepted, reason = set_parameter(client, 'age_warn', -1.0)
        assert not accepted and 'Min: 0.001, Max: 3600.0' in reason

        client.connect()
        maps = client.subscribe(Image, 'lead_0ms/segmentation')
        client.feed_until(lambda: maps, 'a map')
        assert (maps[-1].width, maps[-1].height) == (320, 160)
        assert set_parameter(client, 'output_width', 64) == (True, '')
        client.feed_until(lambda: maps[-1].width == 64, 'a smaller map')
        assert maps[-1].height == 32

        assert client.change_state('active_shutdown') and client.state == 'finalized'
        client.wait(lambda: client.images.get_subscription_count() == 0, 'unsubscription')
        assert client.fresh_diagnostics()['engine'] == ''
