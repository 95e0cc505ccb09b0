"""One hop: nginx behind it, clients in front of it, and the CPU time that the proxy takes.

The agent and HAProxy in its place take the clients as they come. What gateways take begins with a
header, so an HAProxy of its own stands before each of them; only the gateway is measured.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import MeasureError

BACK = 17_080
"""nginx, which wants a header here."""
PLAIN = BACK + 1
"""nginx, which wants none here."""
MOST = 10_000
FILE_MB = 512
TICKS = os.sysconf("SC_CLK_TCK")

_NGINX = """\
daemon off; worker_processes 1; user root; pid {directory}/nginx.pid; error_log stderr crit;
worker_rlimit_nofile 19000;
events {{ worker_connections 18000; }}
http {{ access_log off; sendfile on;
  server {{ listen 127.0.0.1:{port} proxy_protocol backlog=4096;
    listen 127.0.0.1:{plain} backlog=4096; root {directory};
    location /small {{ return 200 "hello"; }} }} }}
"""

_HAPROXY = """\
global
  maxconn {count}
  maxpipes 100
  nbthread 1
defaults
  mode tcp
  {option}
  timeout connect 5s
  timeout client 300s
  timeout server 300s
listen hop
  bind 127.0.0.1:{port} backlog 4096
  server back 127.0.0.1:{back} send-proxy-v2
"""

# PROXY v2 of a client that is on loopback, as all here are.
HEADER = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1" + struct.pack("!HH", 40_000, 80)


@dataclass(frozen=True)
class Figures:
    """What one measurement took."""

    amount: float
    """Connections, or gigabytes."""
    cpu: float
    """Seconds of the proxy's processor time."""
    wall: float

    @property
    def per_cpu(self) -> float:
        """Amount per second of processor time."""
        return self.amount / self.cpu


class Hop:
    """A proxy that runs: its process, its port, and the port at which clients come to it."""

    def __init__(
        self,
        name: str,
        port: int,
        process: subprocess.Popen[bytes],
        *,
        front: int | None = None,
        spare: int = 40,
    ) -> None:
        self.name = name
        self.port = port
        self.front = port if front is None else front
        self.process = process
        self.most = min(MOST, (_file_limit() - spare) // 2)
        """Connections that the limit of descriptors allows it, with two for each and some spare."""

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mb(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        [kb] = [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")]
        return int(kb) / 1024

    def connections(self, count: int) -> Figures:
        """So many connections, each with one small answer, fifty at a time (ab)."""
        url = f"http://127.0.0.1:{self.front}/small"
        argv = ["ab", "-q", "-r", "-n", str(count), "-c", "50", url]
        before, begin = self.cpu(), time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        wall = time.monotonic() - begin
        if "Failed requests:        0" not in done.stdout:
            raise MeasureError(f"{self.name}: {done.stdout[-300:]}{done.stderr[-300:]}")
        return Figures(count, self.cpu() - before, wall)

    def bulk(self, times: int) -> Figures:
        """A big file so many times, on one connection after another (curl)."""
        argv = ["curl", "-sS", "-o", "/dev/null", f"http://127.0.0.1:{self.front}/big"]
        before, begin = self.cpu(), time.monotonic()
        for _ in range(times):
            subprocess.run(argv, check=True, timeout=120)
        wall = time.monotonic() - begin
        return Figures(times * FILE_MB / 1024, self.cpu() - before, wall)

    def memory(self) -> tuple[int, float]:
        """Connections that it has open, as many as it may, and its resident memory with them."""
        held = []
        first = b"" if self.front == self.port else HEADER
        before = self._sockets()
        try:
            for _ in range(self.most):
                held.append(socket.create_connection(("127.0.0.1", self.port), timeout=10))
                held[-1].sendall(first + b"GET /small HTTP/1.1\r\n")
            # Two sockets each; one that has not got there in time does not count.
            deadline = time.monotonic() + 20
            while self._sockets() - before < 2 * self.most and time.monotonic() < deadline:
                time.sleep(0.1)
            return (self._sockets() - before) // 2, self.resident_mb()
        finally:
            for sock in held:
                sock.close()

    def _sockets(self) -> int:
        found = 0
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found += str(fd.readlink()).startswith("socket:")
            except FileNotFoundError:
                continue  # closed meanwhile
        return found


def _file_limit() -> int:
    """The hard limit of descriptors, which this process takes, and its children from it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def hops(directory: Path) -> Iterator[list[Hop]]:
    """HAProxy as it comes and with splicing, then ours, all before one nginx."""
    _file_limit()
    (directory / "nginx.conf").write_text(
        _NGINX.format(directory=directory, port=BACK, plain=PLAIN)
    )
    with (directory / "big").open("wb") as file:
        file.truncate(FILE_MB << 20)
    with ExitStack() as stack:

        def start(name: str, port: int, argv: Sequence[str], **more: int) -> Hop:
            hop = Hop(name, port, stack.enter_context(_program(argv)), **more)
            _wait(port)
            return hop

        def haproxy(name: str, port: int, back: int, option: str = "") -> Hop:
            path = directory / f"haproxy-{port}.cfg"
            count = min(MOST, (_file_limit() - HAPROXY_SPARE) // 2)
            path.write_text(_HAPROXY.format(port=port, back=back, option=option, count=count))
            return start(name, port, ["haproxy", "-db", "-f", str(path)], spare=HAPROXY_SPARE)

        nginx = ["nginx", "-e", "stderr", "-c", str(directory / "nginx.conf")]
        stack.enter_context(_program(nginx))
        _wait(BACK)
        found = [
            haproxy("haproxy", BACK + 10, BACK),
            haproxy("haproxy, splice-auto", BACK + 11, BACK, "option splice-auto"),
        ]
        ours: list[tuple[str, Callable[[Path, int], list[str]]]] = [
            ("agent", _agent),
            ("gateway1", _gateway1),
            ("gateway2", _gateway2),
        ]
        for at, (name, argv) in enumerate(ours):
            port = BACK + 20 + at
            front = port
            if name != "agent":
                front = haproxy(f"before {name}", port + 10, port, "option splice-auto").port
            found.append(start(name, port, argv(directory, port), front=front))
        yield found


HAPROXY_SPARE = 400
"""Descriptors that HAProxy wants beside two for each connection: for pipes and its own."""

LIMITS = {"connections": 12_000, "per_peer": 12_000}


def _agent(directory: Path, port: int) -> list[str]:
    path = directory / "agent.json"
    config = {
        "name": "bench",
        "gateway1": f"127.0.0.1:{BACK}",
        "rules": False,
        "listeners": [{"listen": f"127.0.0.1:{port}"}],
        "log": str(directory / "agent.log"),
        "limits": LIMITS,
    }
    path.write_text(json.dumps(config))
    return [sys.executable, "-m", "diversion.agent", "--config", str(path)]


def _gateway1(directory: Path, port: int) -> list[str]:
    rules = {
        "decoys": {"web": {"gateway2": f"127.0.0.1:{BACK}"}},
        "rules": [{"agent": "bench", "destinations": ["127.0.0.0/8"], "decoy": "web"}],
    }
    (directory / "rules.yaml").write_text(json.dumps(rules))
    section = {
        "listen": [{"address": f"127.0.0.1:{port}"}],
        "agents": {"bench": {"from": ["127.0.0.1"]}},
        "rules": "rules.yaml",
    }
    return _gateway(directory, "gateway1", section)


def _gateway2(directory: Path, port: int) -> list[str]:
    section = {
        "listen": [{"address": f"127.0.0.1:{port}", "decoy": [f"127.0.0.1:{PLAIN}"]}],
        "trusted": ["127.0.0.1"],
        # On loopback the decoy could not answer anybody else.
        "source": "own",
    }
    return _gateway(directory, "gateway2", section)


def _gateway(directory: Path, name: str, section: dict[str, object]) -> list[str]:
    path = directory / f"{name}.yaml"
    log = str(directory / f"{name}.log")
    path.write_text(json.dumps({name: section, "limits": LIMITS, "log": log}))
    return [sys.executable, "-m", "pipeline", "gateway", "--config", str(path)]


@contextmanager
def _program(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(port: int) -> None:
    """Until something listens there, without connecting to it."""
    wanted = f":{port:04X} 00000000:0000 0A"
    deadline = time.monotonic() + 20
    while wanted not in Path("/proc/net/tcp").read_text():
        if time.monotonic() > deadline:
            raise MeasureError(f"nothing came up on port {port}")
        time.sleep(0.05)
