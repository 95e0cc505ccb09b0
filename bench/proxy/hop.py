"""One hop: nginx behind it, clients in front of it, and the CPU time that the proxy takes."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import MeasureError

BACK = 17_080
FILE_MB = 512
TICKS = os.sysconf("SC_CLK_TCK")

_NGINX = """\
daemon off; worker_processes 1; user root; pid {directory}/nginx.pid; error_log stderr crit;
worker_rlimit_nofile 19000;
events {{ worker_connections 18000; }}
http {{ access_log off; sendfile on;
  server {{ listen 127.0.0.1:{port} proxy_protocol backlog=4096; root {directory};
    location /small {{ return 200 "hello"; }} }} }}
"""

_HAPROXY = """\
global
  maxconn 9500
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
    """A proxy that runs, its port and its process."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.port = port
        self.process = process

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
        url = f"http://127.0.0.1:{self.port}/small"
        argv = ["ab", "-q", "-r", "-n", str(count), "-c", "50", url]
        before, begin = self.cpu(), time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        wall = time.monotonic() - begin
        if "Failed requests:        0" not in done.stdout:
            raise MeasureError(f"{self.name}: {done.stdout[-300:]}{done.stderr[-300:]}")
        return Figures(count, self.cpu() - before, wall)

    def bulk(self, times: int) -> Figures:
        """A big file so many times, on one connection after another (curl)."""
        argv = ["curl", "-sS", "-o", "/dev/null", f"http://127.0.0.1:{self.port}/big"]
        before, begin = self.cpu(), time.monotonic()
        for _ in range(times):
            subprocess.run(argv, check=True, timeout=120)
        wall = time.monotonic() - begin
        return Figures(times * FILE_MB / 1024, self.cpu() - before, wall)

    def memory(self, count: int) -> tuple[int, float]:
        """Resident memory with so many open connections, or with as many as can be had."""
        held = []
        try:
            for _ in range(count):
                held.append(socket.create_connection(("127.0.0.1", self.port), timeout=10))
                held[-1].sendall(b"GET /small HTTP/1.1\r\n")
            time.sleep(1)
            return len(held), self.resident_mb()
        finally:
            for sock in held:
                sock.close()


def most_connections() -> int:
    """10,000, or what the limit of descriptors allows a proxy with two for each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(10_000, (hard - 1_000) // 2)


@contextmanager
def hops(directory: Path) -> Iterator[list[Hop]]:
    """nginx, the agent, HAProxy as it comes and HAProxy with splicing."""
    (directory / "nginx.conf").write_text(_NGINX.format(directory=directory, port=BACK))
    with (directory / "big").open("wb") as file:
        file.truncate(FILE_MB << 20)
    with ExitStack() as stack:
        nginx = ["nginx", "-e", "stderr", "-c", str(directory / "nginx.conf")]
        stack.enter_context(_program(nginx))
        _wait(BACK)
        found = []
        for at, (name, option) in enumerate(
            (("haproxy", ""), ("haproxy, splice-auto", "option splice-auto"))
        ):
            port = BACK + 10 + at
            path = directory / f"haproxy{at}.cfg"
            path.write_text(_HAPROXY.format(port=port, back=BACK, option=option))
            process = stack.enter_context(_program(["haproxy", "-db", "-f", str(path)]))
            found.append(Hop(name, port, process))
        port = BACK + 20
        path = directory / "agent.json"
        config = {
            "name": "bench",
            "gateway1": f"127.0.0.1:{BACK}",
            "rules": False,
            "listeners": [{"listen": f"127.0.0.1:{port}"}],
            "log": str(directory / "agent.log"),
            "limits": {"connections": 12_000, "per_peer": 12_000},
        }
        path.write_text(json.dumps(config))
        argv = [sys.executable, "-m", "diversion.agent", "--config", str(path)]
        found.append(Hop("agent", port, stack.enter_context(_program(argv))))
        for hop in found:
            _wait(hop.port)
        yield found


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
