# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The columns of the results, what tables call them, and what they mean."""

from __future__ import annotations

# The columns by their names in the results, in the order in which they are printed, and what the
# tables call them; a star marks what chooses or sees with the future at hand.
COLUMN_TITLES = {
    'fused': 'published forecast (fused)',
    'mean_of_futures': 'one future, on average',
    'best_of_k': 'best of the K futures *',
    'best_of_20': 'best of 20 plain samples *',
    'mean_of_20': 'mean of 20 plain samples',
    'copy_last': 'copy-last',
    'constant_flow': 'constant flow',
    'ego_motion': 'ego motion',
    'blur': 'fitted blur of the last frame',
    'mean_token': 'mean training token',
    'oracle': 'true future frame *',
}
COLUMN_MEANINGS = {
    'fused': 'the published forecast: one map out of the K weighted futures',
    'mean_of_futures': 'the score that one of the K futures has on average, by weight',
    'best_of_k': 'the best of the K futures (known only afterwards)',
    'best_of_20': "the best of 20 plain samples (known only afterwards; the paper's protocol)",
    'mean_of_20': "heads on the mean of 20 plain samples (the paper's protocol)",
    'copy_last': 'nothing changes: the present frame',
    'constant_flow': 'the present maps moved on as the image moves now (optical flow)',
    'ego_motion': 'the present depth seen from where odometry says that the camera will be',
    'blur': "the present frame's features through a fitted 3x3 filter",
    'mean_token': 'the mean change of the training data, whatever is seen',
    'oracle': 'heads on the true future frame: what a perfect forecast would score',
}
COLUMNS = tuple(COLUMN_TITLES)
