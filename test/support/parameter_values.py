# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Deterministic parameter values behind the golden tensors, drawn from each parameter's name."""

import zlib

import numpy as np
import torch
from torch import nn

SCALES = ('lambda1', 'running_var')
SHIFTS = ('bias', 'running_mean')


def parameter_value(full_name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 value of the parameter `module.name`."""
    seed = zlib.crc32(full_name.encode()) & 0x7FFFFFFF
    noise = np.random.RandomState(seed).standard_normal(shape)
    *_, owner, leaf = full_name.split('.')
    if leaf in SCALES or (leaf == 'weight' and ('norm' in owner or owner == 'bn')):
        value = 1.0 + 0.1 * noise
        return (np.abs(value) if leaf == 'running_var' else value).astype(np.float32)
    if leaf in SHIFTS:
        return (0.1 * noise).astype(np.float32)
    fan_in = shape[-1] if len(shape) == 2 else int(np.prod(shape[1:]))
    return (noise / np.sqrt(max(1, fan_in))).astype(np.float32)


def fill(module: nn.Module, name: str) -> nn.Module:
    """Set every parameter and buffer to its value and return the module in evaluation mode."""
    state = {
        key: value if key.endswith('num_batches_tracked')
        else torch.from_numpy(parameter_value(f'{name}.{key}', tuple(value.shape)))
        for key, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()
