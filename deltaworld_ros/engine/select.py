# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Choose an engine: the first of the list that this machine has and that passes the gate."""

from __future__ import annotations

import logging
from collections.abc import Callable

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine.decode_batches import DecodeBatches
from deltaworld_ros.engine.interface import Engine, EngineUnavailable
from deltaworld_ros.engine.onnxruntime_engine import CPU, CUDA, OnnxRuntimeEngine
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.engine.tensorrt.tensorrt_engine import TensorRTEngine
from deltaworld_ros.engine.trial import try_apart
from deltaworld_ros.errors import UserError

_LOGGER = logging.getLogger(__name__)


Log = Callable[[str], None]


def _torch(bundle: Bundle, threads: int, log: Log) -> Engine:
    try:
        from deltaworld_ros.engine.torch_engine import TorchEngine
    except ImportError as error:
        raise EngineUnavailable(
            f'the Python package {error.name} is not installed (pip install torch onnx)'
        ) from None
    return TorchEngine(bundle, threads)


def _torch2trt(bundle: Bundle, half: bool, log: Log) -> Engine:
    try:
        from deltaworld_ros.engine.torch2trt_engine import Torch2TrtEngine
    except ImportError as error:
        raise EngineUnavailable(
            f'the Python package {error.name} is not installed (pip install '
            '"deltaworld_ros[export]")') from None
    return Torch2TrtEngine(bundle, half, log)


# In the order in which `auto` and families try them: bundle, number of threads and log in, engine
# out.
ENGINES: dict[str, Callable[[Bundle, int, Log], Engine]] = {
    'tensorrt': lambda bundle, threads, log: TensorRTEngine(bundle, log),
    'onnxruntime-cuda': lambda bundle, threads, log: OnnxRuntimeEngine(bundle, threads, CUDA),
    'onnxruntime-cpu': lambda bundle, threads, log: OnnxRuntimeEngine(bundle, threads, CPU),
    'torch': _torch,
    'torch2trt-fp16': lambda bundle, threads, log: _torch2trt(bundle, True, log),
    'torch2trt-fp32': lambda bundle, threads, log: _torch2trt(bundle, False, log),
}
# It builds anew at each start and leaves the types to TensorRT: only who asks for it gets it.
NOT_AUTOMATIC = ('torch2trt',)


def start_engine(name: str, bundle: Bundle, threads: int, log: Log) -> Engine:
    """
    Start one of `ENGINES`, which decodes fewer futures at once where its device lacks memory.

    It is not checked. Raise `EngineUnavailable`, or an error of its own, where it does not start.
    """
    return DecodeBatches(ENGINES[name](bundle, threads, log), bundle.manifest, log)


def engine_names() -> list[str]:
    """List what `load_engine` accepts: `auto`, families and single engines."""
    families = dict.fromkeys(name.partition('-')[0] for name in ENGINES)
    return list(dict.fromkeys(['auto', *families, *ENGINES]))


def load_engine(
        bundle: Bundle, engine: str = 'auto', threads: int = 0, log: Log = _LOGGER.info, *,
        num_samples: int | None = None, num_futures: int | None = None,
        single_leads: bool = False, apart_first: bool = False) -> Engine:
    """
    Return the first engine that starts and reproduces the bundle's golden outputs.

    `engine` is `auto`, a family (`onnxruntime`) or one of `ENGINES`; `threads` is the number of
    CPU threads, 0 for the engine's choice. `log` gets a line for each engine refused and for the
    one chosen, and the engines' own lines. Raise `UserError` with every reason where none is left.

    What the caller will run is prepared and judged before it is used: forecasts of `num_samples`
    samples and `num_futures` futures (those of golden.npz by default), and with `single_leads`
    decoding that names its leads. With `apart_first` graphs that no robot ran yet are tried in
    a process of their own, which they may crash or hold for ever.
    """
    if engine not in engine_names():
        raise UserError(f'engine {engine!r}: must be one of {", ".join(engine_names())}')
    if threads < 0:
        raise UserError(f'threads {threads}: must be 0 (automatic) or more')
    reasons = []
    for name in ENGINES:
        family = name.partition('-')[0]
        if engine not in (name, family) and (engine != 'auto' or family in NOT_AUTOMATIC):
            continue
        candidate: Engine | None = None
        try:
            if apart_first:
                try_apart(bundle, name, threads, num_samples, num_futures, single_leads, log)
            candidate = start_engine(name, bundle, threads, log)
            leads = candidate.prepare_leads(bundle) if single_leads else []
            report = check_parity(
                candidate, bundle, num_samples=num_samples, num_futures=num_futures, leads=leads)
        except EngineUnavailable as error:
            reason = str(error)
        # Engines fail in their own ways (libraries, drivers, memory): the next one is tried.
        except Exception as error:
            reason = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
        else:
            if report.passed:
                log(f'engine {candidate.name} chosen ({report})')
                return candidate
            reason = str(report)
        if candidate is not None:
            candidate.close()
        log(f'engine {name} refused: {reason}')
        reasons.append(f'{name}: {reason}')
    raise UserError(
        f'no engine can run the bundle {bundle.manifest.name!r}: ' + '; '.join(reasons))
