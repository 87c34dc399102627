# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Try a bundle's graphs in a process of their own before ONNX Runtime or torch runs them here.

No check of a graph tells whether a native engine survives it: some wrong constants abort the
process, others compute for hours or make gigabytes of a few bytes. The trial does what the node
will do once; what comes of it is judged by the node itself. What was tried is remembered, and
shipped bundles need no trial.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.load import BUNDLES_FOLDER
from deltaworld_ros.engine.interface import EngineUnavailable
from deltaworld_ros.engine.onnxruntime_engine import CPU, CUDA, available_providers
from deltaworld_ros.engine.paint import PaintingGraph
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.engine.private_folder import AlteredFile, cache_folder, keep, kept

# A node whose golden frames take longer is of no use.
MAX_SECONDS = 300.0
# Of main memory: for the libraries, and for each byte of the bundle. A float32 ViT-B bundle takes
# half of it.
MAX_BYTES, MAX_BYTES_PER_BYTE = 2_000_000_000, 8
_LOOK_SECONDS = 0.02
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
    """
    Raise `EngineUnavailable` where the graphs end their process, or take too long or too much.

    Engines that are not installed are not tried, nor those of TensorRT, whose builder has limits.
    """
    if bundle.path.parent == BUNDLES_FOLDER or not _runs_here(engine):
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
    most = MAX_BYTES + MAX_BYTES_PER_BYTE * sum(
        bundle.file(name).stat().st_size for name in bundle.manifest.files)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            code = _wait(process, most)
        finally:
            process.kill()
    if code in (-signal.SIGINT, -signal.SIGTERM):   # the node is interrupted too
        return
    if code < 0:
        raise EngineUnavailable(
            f'its graphs end the process that computes them ({signal.Signals(-code).name})')
    if code:   # the engine does not start, which it will say itself
        return
    with contextlib.suppress(OSError):
        keep(remembered, _NOTHING_TO_SAY)


def _runs_here(engine: str) -> bool:
    if engine.startswith('onnxruntime'):
        provider = CUDA if engine.endswith('cuda') else CPU
        return provider in available_providers()
    return engine == 'torch' and find_spec('torch') is not None


def _wait(process: subprocess.Popen[bytes], most: int) -> int:
    """Return the exit code; raise `EngineUnavailable` past the limits of time and memory."""
    deadline = time.monotonic() + MAX_SECONDS
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_SECONDS)
        if time.monotonic() > deadline:
            raise EngineUnavailable(
                f'its graphs did not compute the golden frames within {MAX_SECONDS:g} s')
        if _memory(process.pid) > most:
            raise EngineUnavailable(
                f'its graphs take more than {most / 1e9:.1f} GB of memory, the limit for a '
                'bundle of this size')


def _memory(process: int) -> int:
    """Return the bytes of main memory that a process holds, 0 for one that has ended."""
    try:
        pages = Path(f'/proc/{process}/statm').read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf('SC_PAGE_SIZE')


def _key(bundle: Bundle, settings: list[str | int | bool | None]) -> str:
    """Return the name of a trial: other files or settings, or another runtime, are another one."""
    # The hashes stand for the files.
    runtime = import_module('torch' if settings[0] == 'torch' else 'onnxruntime')
    text = json.dumps([bundle.manifest.files, settings, runtime.__version__, 2])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_trial(folder: str, settings: str) -> None:
    """Do once what a node will do; this is the process of its own."""
    from deltaworld_ros.engine.select import start_engine

    engine, threads, num_samples, num_futures, single_leads = json.loads(settings)
    bundle = load_bundle(folder)
    started = start_engine(engine, bundle, threads, lambda line: None)
    leads = started.prepare_leads(bundle) if single_leads else []
    check_parity(started, bundle, num_samples=num_samples, num_futures=num_futures, leads=leads)
    painter = PaintingGraph.of(bundle, threads)
    if painter is not None:
        manifest = bundle.manifest
        painter.paint(np.zeros((1, manifest.num_patches, manifest.feature_size), np.float32))
