"""A real browser: Debian's chromium without a screen, driven over a pipe by its DevTools protocol.

    with Browser(tmp_path) as browser:
        browser.go("http://127.0.0.1:8470/")
        browser.until("document.title == 'Peeltap'")

It resolves no name and reaches only addresses. `complaints` has what a person would find in the
console: errors, warnings, exceptions, violations of the page's policy; `asked` every URL.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import selectors
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

SECONDS = 60.0
FLAGS = (
    "--headless=new",
    # Tests run as root, where chromium's own sandbox cannot; the pages are ours.
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1280,1000",
    "about:blank",
)


class Browser:
    """One chromium with one tab; its profile lies in `directory`.

    `inside` gives the command by which a program is started elsewhere, as in a network namespace.
    """

    def __init__(
        self, directory: Path, inside: Callable[[list[str]], list[str]] = lambda argv: argv
    ) -> None:
        self._inside = inside
        self._directory = directory / "chromium"
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._number = 0
        self._read = b""
        self._session: str | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        program = shutil.which("chromium")
        assert program is not None, "chromium is not installed; run make setup"
        to_browser, self._to = (_high(fd) for fd in os.pipe())
        self._from, from_browser = (_high(fd) for fd in os.pipe())
        log = _high(os.open(self._directory / "log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
        argv = self._inside([program, f"--user-data-dir={self._directory}", *FLAGS])
        self._pid = os.posix_spawnp(
            argv[0],
            argv,
            {**os.environ, "HOME": str(self._directory), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
            # It reads commands from 3 and writes to 4.
            file_actions=[
                (os.POSIX_SPAWN_DUP2, to_browser, 3),
                (os.POSIX_SPAWN_DUP2, from_browser, 4),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
        for fd in (to_browser, from_browser, log):
            os.close(fd)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._from, selectors.EVENT_READ)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            told = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = told["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol, and its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        # Short, and read at once.
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        """The next message; events are noted on the way."""
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._read:
            ready = self._selector.select(deadline - time.monotonic())
            data = os.read(self._from, 1 << 16) if ready else b""
            assert data, f"chromium says nothing: {(self._directory / 'log').read_text()[-2000:]}"
            self._read += data
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"console.{told['type']}: {told['args']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"exception: {told['exceptionDetails']}")
            case "Log.entryAdded":
                self.complaints.append(f"{told['entry']['level']}: {told['entry']['text']}")

    # What a person does.

    def go(self, url: str) -> None:
        """Open a page, and wait until it is there."""
        told = self.call("Page.navigate", url=url)
        assert "errorText" not in told, told
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str, seconds: float = SECONDS) -> None:
        """Wait until the expression holds; while a page comes there may be none to ask."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):
                if self.js(f"!!({expression})"):
                    return
            assert time.monotonic() < deadline, (expression, self.js("document.body.innerText"))
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        """Keep how the whole page looks."""
        path.parent.mkdir(parents=True, exist_ok=True)
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))


def _high(fd: int) -> int:
    """The same, out of the way of 3 and 4, and not inherited."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16)
    os.close(fd)
    return high
