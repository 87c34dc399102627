# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The losses of the stages, each without reduction over samples."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH_L1_BETA = 0.1


def squared(predicted: Tensor, true: Tensor) -> Tensor:
    """Return the squared error (paper, equation 7), elementwise."""
    return (predicted - true).square()


def log_cosh(predicted: Tensor, true: Tensor) -> Tensor:
    """Return log cosh of the error, elementwise: the release's tokenizer loss."""
    error = (predicted - true).abs()
    return error + F.softplus(-2.0 * error) - math.log(2.0)


def smooth_l1(predicted: Tensor, true: Tensor) -> Tensor:
    """Return the smooth L1 error with beta 0.1 (paper, appendix A), elementwise."""
    predicted, true = torch.broadcast_tensors(predicted, true)
    return F.smooth_l1_loss(predicted, true, reduction='none', beta=SMOOTH_L1_BETA)


ELEMENTWISE = {'mse': squared, 'log_cosh': log_cosh, 'smooth_l1': smooth_l1}


def scale_free_depth(predicted: Tensor, true: Tensor) -> Tensor:
    """Return the mean absolute error of the logarithms of positive depths (n,)."""
    return (predicted.clamp_min(0.1).log() - true.log()).abs().mean()


def sig_depth(predicted: Tensor, true: Tensor) -> Tensor:
    """
    Return the scale-invariant logarithmic error of positive depths (n,).

    The root of the variance of the log error plus 0.15 times its squared mean, as DINOv2's and
    DINOv3's linear depth heads are trained; the paper names their head but no loss.
    """
    error = (predicted + 1e-3).log() - (true + 1e-3).log()
    # An epsilon inside the root keeps its slope finite where the error is zero.
    return (error.var(unbiased=False) + 0.15 * error.mean().square() + 1e-8).sqrt()


DEPTH = {'scale_free': scale_free_depth, 'sig': sig_depth}


def masked(loss: str, predicted: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Return a depth loss over the known pixels; zero, with a gradient, where there are none."""
    if not bool(known.any()):
        return predicted.sum() * 0.0
    result: Tensor = DEPTH[loss](predicted[known], true[known])
    return torch.nan_to_num(result)
