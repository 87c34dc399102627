# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a recording is driven through: gaps, odd and unreadable images, limits of the work."""

from __future__ import annotations

import pytest
from support.bags import START, image_message, write_bag, write_drive
from support.evaluation import drive, evaluate

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.evaluator import Evaluator


def test_gaps_and_time_that_goes_back_restart(engine, bundle, tmp_path):
    frames = drive(bundle, 20)
    stamps = [START + i * 200_000_000 for i in range(20)]
    stamps[10:] = [stamp + 3_000_000_000 for stamp in stamps[10:]]
    messages = [('/image', stamp, image_message(stamp, frame))
                for stamp, frame in zip(stamps, frames, strict=True)]
    late = stamps[-1] - 60_000_000_000
    messages.append(('/image', stamps[-1] + 1, image_message(late, frames[0])))
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['restart_reasons'] == {'a gap': 1}
    assert result['odd_frames'] == {'stamp before the newest': 1}   # which alone restarts nothing
    # Each part of ten frames has seven forecasts, four of which see their future.
    assert (result['forecasts'], result['unscored']) == (8, 6)


@pytest.mark.parametrize(('change', 'kind'), [
    (lambda stamp: [stamp, stamp], 'repeated stamp'),
    (lambda stamp: [stamp - 125_000_000], 'stamp before the newest'),
    (lambda stamp: [0], 'stamp before the newest'),
    (lambda stamp: [stamp + 500_000_000], 'stamp too far ahead'),
    (lambda stamp: [stamp + 37 * 10**9], 'stamp too far ahead'),
    (lambda stamp: [stamp + 3600 * 10**9], 'stamp too far ahead'),
])
def test_one_odd_image_in_ten_costs_only_itself(engine, bundle, tmp_path, change, kind):
    messages = []
    for number, frame in enumerate(drive(bundle, 60)):
        stamp = START + number * 100_000_000
        for odd in change(stamp) if number % 10 == 5 else [stamp]:
            messages.append(('/image', stamp + len(messages), image_message(odd, frame)))
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['restarts'] == 0 and result['odd_frames'] == {kind: 6}
    # The first five images fill the context, the last six are futures; each odd one is missed
    # by up to four forecasts.
    assert 60 - 11 - 4 * 6 <= result['forecasts'] <= 60 - 11


def test_every_second_image_by_another_clock(engine, bundle, tmp_path):
    """Every second stamp is of atomic time: the others are a drive of half the rate."""
    messages = [
        ('/image', START + number, image_message(
            START + number * 100_000_000 + number % 2 * 37 * 10**9, frame))
        for number, frame in enumerate(drive(bundle, 60))]
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['restarts'] <= 1 and result['odd_frames']['stamp too far ahead'] == 29
    assert result['forecasts'] == 30 - 6


def test_limits_of_the_work(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 24), interval=0.2)
    assert evaluate(engine, bundle, path, every=3)['forecasts'] == 6
    # From 2 s to 4 s there are eleven images: three fill the context, three are the last futures.
    assert evaluate(engine, bundle, path, start=2.0, end=4.0)['forecasts'] == 5
    with pytest.raises(UserError, match='start 3 s, end 2 s'):
        evaluate(engine, bundle, path, start=3.0, end=2.0)
    assert evaluate(engine, bundle, path, max_forecasts=2)['forecasts'] == 2
    result = evaluate(engine, bundle, path, num_samples=8, num_futures=2)
    assert (result['num_samples'], result['num_futures']) == (8, 2)
    assert len(result['weights']['mean_weight']) == 2
    assert sum(result['weights']['best_share']) == pytest.approx(1)


def test_a_drive_that_is_too_short_is_one_clear_error(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 5))
    with pytest.raises(UserError, match=r'no forecast could be scored.*at least 1\.2 s'):
        evaluate(engine, bundle, path)


def test_unreadable_images_are_dropped_and_told(engine, bundle, tmp_path):
    frames = drive(bundle, 16)
    messages = [('/image', START + i, image_message(START + i * 200_000_000, frame))
                for i, frame in enumerate(frames)]
    messages[2][2].encoding = 'none'
    with BagFrames(write_bag(tmp_path / 'bag', messages)) as bag:
        evaluator = Evaluator(engine, bundle)
        evaluator.run(bag)
    assert evaluator.result()['dropped'] == 1
    assert any('none' in problem for problem in evaluator.problems)


def test_settle_leaves_out_the_first_seconds_of_each_context(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle))
    # At 10 Hz frame 5 is the first with a context, at 0.5 s; frame 9 is the first after 0.9 s.
    assert evaluate(engine, bundle, path)['forecasts'] == 20 - 5 - 6
    assert evaluate(engine, bundle, path, settle=0.9)['forecasts'] == 20 - 9 - 6
    # The second bag begins a context of its own.
    assert evaluate(engine, bundle, path, path, settle=0.9)['forecasts'] == 2 * (20 - 9 - 6)


def test_a_recording_that_begins_at_stamp_zero(engine, bundle, tmp_path):
    frames = drive(bundle, 24)
    messages = [('/image', 1 + index, image_message(index * 200_000_000, frame))
                for index, frame in enumerate(frames)]
    path = write_bag(tmp_path / 'bag', messages)
    # As in a recording of the present: from 2 s to 4 s five forecasts see their future.
    assert evaluate(engine, bundle, path, start=2.0, end=4.0)['forecasts'] == 5
