# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: it works without a network, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bags import write_drive
from support.browser import Page, browser_page
from support.tiny_bundle import fading_frames

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.evaluate.drive import Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.evaluate.report import write_evaluation_report

WIDE, PHONE = 1280, 390


@pytest.fixture(scope='module')
def report(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of two recordings, so that it has every section."""
    folder = tmp_path_factory.mktemp('report')
    bundle = load_bundle(tiny_bundle)
    evaluator = Evaluator(load_engine(bundle, 'onnxruntime', threads=1), bundle,
                          Options(num_samples=8, num_futures=3), moments=8)
    for name in ('a_recording_with_a_rather_long_name', 'b'):
        frames = fading_frames(bundle.manifest, 20)
        frames[10:] = frames[10:, :, ::-1]
        with BagFrames(write_drive(folder / name, frames, interval=0.2, focal_length=64.0)) as bag:
            evaluator.run(bag)
    path = folder / 'report.html'
    write_evaluation_report(path, bundle, evaluator.result(), evaluator.bags)
    return path


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_page(tmp_path_factory.mktemp('browser')) as page:
        yield page


def shown(page: Page) -> tuple[str, str, str]:
    """Return the picture of the viewer, its caption and the line below the slider."""
    return tuple(page.evaluate(
        "[document.getElementById('view').src, "
        "document.getElementById('view-caption').textContent, "
        "document.getElementById('when').textContent]"))


def press(page: Page, what: str) -> None:
    page.evaluate(f"document.querySelector('#viewer button[data-show={what}]').click()")


def slide(page: Page, step: int) -> None:
    page.evaluate(f"(() => {{ const time = document.getElementById('time'); "
                  f"time.value = {step}; time.dispatchEvent(new Event('input')); }})()")


def test_the_slider_steps_and_the_buttons_flip(page: Page, report: Path) -> None:
    page.open(report, WIDE)
    steps = int(page.evaluate("document.getElementById('time').max"))
    assert steps >= 5
    lines, flips = set(), 0
    for step in range(steps + 1):
        slide(page, step)
        pictures = {}
        for what, caption in (('truth', 'What came'), ('copy', 'Copy-last'),
                              ('forecast', 'Forecast')):
            press(page, what)
            pictures[what], title, line = shown(page)
            lines.add(line)
            assert title == caption
            assert page.evaluate(
                "[...document.querySelectorAll('#viewer button[aria-pressed=true]')]"
                '.map(one => one.dataset.show)') == [what]
        flips += pictures['truth'] not in (pictures['forecast'], pictures['copy'])
        # The buttons keep what is shown while time goes on.
        slide(page, (step + 1) % (steps + 1))
        assert shown(page)[1] == 'Forecast'
    # Each moment has its own line; in some, what came was neither forecast nor there before.
    assert len(lines) == steps + 1 and flips > 0
    assert sum('s into a_recording_with_a_rather_long_name, ' in line for line in lines) == 8


@pytest.mark.parametrize('width', [WIDE, PHONE])
def test_nothing_is_fetched_and_everything_fits(page: Page, report: Path, width: int) -> None:
    page.requests.clear()
    page.problems.clear()
    page.open(report, width)
    assert page.evaluate('innerWidth') == width
    # Every picture is inside the file, and whole.
    assert {address.split(':')[0] for address in page.requests} <= {'file', 'data'}
    assert [one for one in page.requests if one.startswith('file')] == [report.resolve().as_uri()]
    assert page.evaluate('[...document.images].every(one => one.complete && one.naturalWidth)')
    assert page.problems == []
    overflowing = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(one => "
        'one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll"))'
        '.map(one => one.tagName + "." + one.className)')
    assert overflowing == []
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    # What can be read is large enough for it.
    assert page.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, th, figcaption, li')].filter("
        'one => one.textContent.trim()).map(one => parseFloat(getComputedStyle(one).fontSize)))'
    ) >= 12
