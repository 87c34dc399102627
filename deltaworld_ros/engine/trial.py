# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Try a bundle's graphs in a process of their own before a node runs them in ONNX Runtime.

No check of a graph tells whether a native engine survives it: some wrong constants abort the
process, others compute for hours. The trial does what the node will do once; what comes of it is
judged by the node itself. What was tried is remembered, and shipped bundles need no trial.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.load import BUNDLES_FOLDER
from deltaworld_ros.engine.interface import EngineUnavailable
from deltaworld_ros.engine.onnxruntime_engine import CPU, CUDA, available_providers
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.engine.private_folder import AlteredFile, cache_folder, keep, kept

# A node whose golden frames take longer is of no use.
MAX_SECONDS = 300.0
_NOTHING_TO_SAY = b'tried'
# It ends with its node, however that ends (PR_SET_PDEATHSIG of Linux), and with the terminal's
# Ctrl-C. Before anything is imported, which takes a second.
_PROGRAM = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
signal.signal(signal.SIGINT, signal.SIG_DFL)
from deltaworld_ros.engine.trial import run_trial
run_trial(*sys.argv[2:])
"""


def try_apart(bundle: Bundle, engine: str, threads: int, num_samples: int | None,
              num_futures: int | None, single_leads: bool, log: Callable[[str], None]) -> None:
    """Raise `EngineUnavailable` where the graphs end their process, or do not come to an end."""
    provider = CUDA if engine.endswith('cuda') else CPU
    if bundle.path.parent == BUNDLES_FOLDER or provider not in available_providers():
        return
    settings: list[str | int | bool | None] = [
        engine, threads, num_samples, num_futures, single_leads]
    remembered = cache_folder('trials') / _key(bundle, settings)
    with contextlib.suppress(OSError, AlteredFile):
        if kept(remembered) == _NOTHING_TO_SAY:
            return
    log(f'engine {engine}: trying the bundle {bundle.manifest.name!r}, which is new here, in a '
        'process of its own')
    command = [sys.executable, '-c', _PROGRAM, str(os.getpid()), str(bundle.path.resolve()),
               json.dumps(settings)]
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=MAX_SECONDS, check=False,
                              ).returncode
    except subprocess.TimeoutExpired:
        raise EngineUnavailable(
            f'its graphs did not compute the golden frames within {MAX_SECONDS:g} s') from None
    if code in (-signal.SIGINT, -signal.SIGTERM):   # the node is interrupted too
        return
    if code < 0:
        raise EngineUnavailable(
            f'its graphs end the process that computes them ({signal.Signals(-code).name})')
    if code:   # the engine does not start, which it will say itself
        return
    with contextlib.suppress(OSError):
        keep(remembered, _NOTHING_TO_SAY)


def _key(bundle: Bundle, settings: list[str | int | bool | None]) -> str:
    """Return the name of a trial: other files or settings, or another runtime, are another one."""
    import onnxruntime

    # The hashes stand for the files.
    text = json.dumps([bundle.manifest.files, settings, onnxruntime.__version__, 1])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_trial(folder: str, settings: str) -> None:
    """Do once what a node will do; this is the process of its own."""
    from deltaworld_ros.engine.select import start_engine

    engine, threads, num_samples, num_futures, single_leads = json.loads(settings)
    bundle = load_bundle(folder)
    started = start_engine(engine, bundle, threads, lambda line: None)
    leads = started.prepare_leads(bundle) if single_leads else []
    check_parity(started, bundle, num_samples=num_samples, num_futures=num_futures, leads=leads)
