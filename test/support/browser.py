# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium in tests, spoken to by its own protocol (DevTools)."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
DEADLINE = 60.0


class Page:
    """One tab; `requests` are the addresses that it has asked for."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.requests: list[str] = []
        self.problems: list[str] = []
        for domain in ('Page', 'Network', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and give its result."""
        self._number += 1
        self._socket.send(json.dumps(
            {'id': self._number, 'method': method, 'params': parameters}))
        while (answer := self._read()).get('id') != self._number:
            pass
        assert 'error' not in answer, answer
        result: dict[str, Any] = answer['result']
        return result

    def open(self, path: Path, width: int, height: int = 900) -> None:
        """Show a file in a window of so many pixels."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        self.call('Page.navigate', url=path.resolve().as_uri())
        while self._read().get('method') != 'Page.loadEventFired':
            pass

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression."""
        result = self.call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=DEADLINE))
        if message.get('method') == 'Network.requestWillBeSent':
            self.requests.append(message['params']['request']['url'])
        elif message.get('method') in ('Runtime.exceptionThrown', 'Log.entryAdded'):
            self.problems.append(json.dumps(message['params']))
        return message


@contextmanager
def browser_page(folder: Path) -> Iterator[Page]:
    """Yield a page of a browser that keeps its files in `folder`; skip where there is none."""
    client = pytest.importorskip('websockets.sync.client', reason='pip install websockets')
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip('there is no Chromium (apt-get install chromium)')
    process = subprocess.Popen(
        [program, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
         '--no-first-run', '--disable-background-networking', '--remote-debugging-port=0',
         f'--user-data-dir={folder}', 'about:blank'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with client.connect(_page_address(folder, process), max_size=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _page_address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait until the browser says where its page is spoken to."""
    port_file, deadline = folder / 'DevToolsActivePort', time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert process.poll() is None, 'the browser ended'
        if port_file.is_file() and (words := port_file.read_text().split()):
            with urllib.request.urlopen(f'http://127.0.0.1:{words[0]}/json', timeout=10) as answer:
                pages = [one for one in json.load(answer) if one['type'] == 'page']
            if pages:
                return str(pages[0]['webSocketDebuggerUrl'])
        time.sleep(0.1)
    raise AssertionError('the browser did not start')
