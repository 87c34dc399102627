# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A real engine on a device that has memory for few futures at once.

As a script it runs the forecast node with memory for `MAX_FUTURES` (2 by default) at once; from
a white frame to a black one there is none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine

# In the words of ONNX Runtime's CUDA provider.
NO_MEMORY = ('[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while '
             'running MatMul node.\nStatus Message: bfc_arena.cc:376 AllocateRawInternal '
             'Failed to allocate memory for requested buffer of size 12845056')


class LimitedEngine(OnnxRuntimeEngine):
    """Raises what `error` makes for more than `most` futures; `calls` are their numbers."""

    def __init__(self, bundle: Any, most: int,
                 error: Callable[[], Exception] = lambda: RuntimeError(NO_MEMORY)) -> None:
        super().__init__(bundle, threads=1)
        self.most = most
        self.error = error
        self.calls: list[int] = []

    def decode(self, features: Any, tokens: Any, weights: Any, outputs: Any,
               leads: Any = None) -> Any:
        self.calls.append(len(tokens))
        if len(tokens) > self.most:
            raise self.error()
        return super().decode(features, tokens, weights, outputs, leads)


class FadingEngine(LimitedEngine):
    """Has no memory at all from a white frame on, until a black one."""

    def observe(self, image: Any, previous: Any) -> Any:
        if image.min() == 255:
            self.most = 0
        elif image.max() == 0:
            self.most = 2
        return super().observe(image, previous)


if __name__ == '__main__':
    from deltaworld_ros.engine import select
    from deltaworld_ros.node import forecast_node

    select.ENGINES = {'limited': lambda bundle, threads, log: FadingEngine(
        bundle, int(os.environ.get('MAX_FUTURES', '2')))}
    sys.exit(forecast_node.main())
