"""Real servers that sinks are tested against: begun, killed, stopped in mid-work, begun again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path


def until(
    condition: Callable[[], object], what: str, seconds: float = 120, rest: float = 0.01
) -> None:
    """Return as soon as `condition` holds; it is looked at after each `rest`, in seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(rest)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody has just now, and that no connection gets by chance later on.

    A server that is begun anew must find it free again.
    """
    bounds = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    for _ in range(1000):
        port = random.randrange(10_000, min(int(bounds[0]), 32_768))
        with socket.socket(socket.AF_INET, kind) as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def answers(port: int) -> bool:
    """Whether somebody accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
    return False


class Program:
    """One server of ours; `ready` says when it can be used."""

    def __init__(self, command: list[str], ready: Callable[[], object], log: Path) -> None:
        found = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        self._command = [found or command[0], *command[1:]]
        self._ready = ready
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        # Tests kill and stop it from timers.
        self._lock = threading.RLock()

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self._lock, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            until(self._running, self._command[0])

    def _running(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        return bool(self._ready())

    def kill(self) -> None:
        """SIGKILL: what it has not written down is lost."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        with self._lock:
            if self._process is not None:
                self._process.send_signal(number)
                self._process.wait()
                self._process = None

    def restart(self) -> None:
        """Killed and begun again."""
        with self._lock:
            self.kill()
            self.start()

    def pause(self) -> None:
        """It does nothing until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._process is not None:
                self._process.send_signal(number)


def redis_server(directory: Path, port: int, *options: str) -> Program:
    """Redis, each command in its file before it is answered: a kill loses nothing of it.

    Whether the disk has it, too, only a power cut would show, at the price of thousands of waits.
    """
    command = [
        "redis-server",
        *("--bind", "127.0.0.1", "--dir", str(directory), "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "no"),
        *(("--port", str(port)) if "--port" not in options else ()),
        *options,
    ]
    return Program(command, lambda: answers(port), directory / "redis.log")


RSYSLOG_TLS = "lmnsd_gtls.so"


def rsyslog_lacks_tls() -> bool:
    """Whether the module for TLS is absent, which is a package of its own."""
    return not any(Path("/usr/lib").glob(f"*/rsyslog/{RSYSLOG_TLS}"))


def rsyslog(directory: Path, inputs: str, ready: Callable[[], object], **globals_: str) -> Program:
    """rsyslog, which writes each message whole, as it came, to `directory`/received.

    Without a queue in memory: what it has read it writes, or loses when it is killed in between.
    """
    more = "".join(f'    {name}="{value}"\n' for name, value in globals_.items())
    config = f"""
global(
    workDirectory="{directory}"
    maxMessageSize="64k"
{more})
main_queue(queue.type="Direct")
{inputs}
template(name="whole" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{directory}/received" template="whole" asyncWriting="off")
"""
    (directory / "rsyslog.conf").write_text(config)
    command = ["rsyslogd", "-n", "-f", str(directory / "rsyslog.conf")]
    command += ["-i", str(directory / "rsyslog.pid")]
    return Program(command, ready, directory / "rsyslog.log")
