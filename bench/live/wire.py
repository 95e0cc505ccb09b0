"""The benchmark's wire: a bridge, somebody who sends across it, a tap, programs around them.

    near ──port0── br1  :  vtap0 ── consumer, or Suricata

All frames come from `near`, whoever they say they are from, and there is no second port: the bridge
is promiscuous and takes them in, the host ignores them. That is what they cost without anybody
listening. What listens is started beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.live import processor
from bench.live.tap import open_tap
from bench.measure import MeasureError
from fixtures.netns import Lab, LabError, Namespace

ROOT = Path(__file__).resolve().parents[2]
BRIDGE, TAP = "br1", "vtap0"
QUARANTINE = f"""
table netdev peeltap {{
    chain ingress {{ type filter hook ingress device "{TAP}" priority 0; policy drop; }}
}}
"""


class Program:
    """A program of ours that says ``ready`` and answers a line of JSON with a line of JSON."""

    def __init__(self, namespace: Namespace, name: str, argv: Iterable[object]) -> None:
        self.name = name
        words = [sys.executable, "-m", f"bench.live.{name}", *map(str, argv)]
        self.process = subprocess.Popen(
            namespace.command(words, contained=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        said = self._read()
        if said != "ready":
            self.stop()
            raise MeasureError(f"{name} did not start: it said {said!r}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, **wanted: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        said = self._read()
        if not said:
            raise MeasureError(f"{self.name} ended with {self.process.wait()} in the middle")
        answer: dict[str, Any] = json.loads(said)
        return answer

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass
class Spent:
    """What sending some packets cost: nanoseconds in all, and of each program."""

    packets: int
    seconds: float
    total: int
    each: dict[int, int] = field(default_factory=dict)

    @property
    def a_packet(self) -> float:
        return self.total / self.packets


class Wire:
    """The namespaces and devices of one run."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        lab = self.lab = self._stack.enter_context(Lab())
        self.host, self.near = (lab.namespace(name) for name in ("host", "near"))
        for namespace in (self.host, self.near):
            self.quiet(namespace)
        bridge = lab.bridge(self.host, BRIDGE, snooping=False)
        lab.attach(self.near, "eth0", bridge)
        # Both directions come in at one port: nothing is to be learned from that. Nor has the
        # host's firewall a say, as it would by br_netfilter.
        self.host.run(["bridge", "link", "set", "dev", "port0", "learning", "off"])
        for table in ("iptables", "ip6tables", "arptables"):
            with suppress(LabError):  # there is no br_netfilter
                self.host.sysctl(f"bridge.bridge-nf-call-{table}", 0)
        self.host.run(["ip", "link", "set", BRIDGE, "promisc", "on"])
        os.close(self.host.call(lambda: open_tap(TAP, persistent=True)))
        self.host.run(["ip", "link", "set", TAP, "up"])
        # As Peeltap's own: what arrives goes to packet sockets and no further.
        self.host.run(["nft", "-f", "-"], stdin=QUARANTINE.encode())
        self.kernel = processor.kernel_threads()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @staticmethod
    def quiet(namespace: Namespace) -> None:
        for scope in ("all", "default"):
            namespace.sysctl(f"ipv6.conf.{scope}.disable_ipv6", 1)

    def offloads(self, on: bool) -> None:
        """Lets frames of any size through, or none that are larger than the MTU."""
        for namespace, interface in ((self.near, "eth0"), (self.host, "port0")):
            namespace.offloads(interface, on)

    def pair(self, near: str, behind: str) -> None:
        """A link from the sender's namespace to the host's, beside the bridge."""
        self.lab.connect((self.near, near, ()), (self.host, behind, ()))

    def unpair(self, near: str) -> None:
        self.near.run(["ip", "link", "del", near])

    def mirror(self, on: bool) -> None:
        """The kernel's own copy of all that comes in at the bridge to the tap: the limit."""
        if not on:
            self.host.run(["tc", "qdisc", "del", "dev", BRIDGE, "clsact"])
            os.close(self._held)
            return
        # A tap that nobody holds has no carrier, and gets nothing.
        self._held = self.host.call(lambda: open_tap(TAP))
        self.host.run(["tc", "qdisc", "add", "dev", BRIDGE, "clsact"])
        self.host.run(
            [
                *("tc", "filter", "add", "dev", BRIDGE, "ingress", "protocol", "all", "u32"),
                *("match", "u32", "0", "0", "action", "mirred", "ingress", "mirror", "dev", TAP),
            ]
        )

    def sender(self, capture: Path, *flags: str) -> Program:
        return Program(self.near, "sender", [capture, "eth0", *flags])

    def consumer(self) -> Program:
        return Program(self.host, "consumer", [TAP])

    def worker(self, ring_mb: int = 64) -> Program:
        return Program(self.host, "worker", [BRIDGE, TAP, ring_mb])

    def spend(
        self,
        sender: Program,
        others: Iterable[int] = (),
        *,
        until: Callable[[int], bool] = lambda _: True,
        **how: Any,
    ) -> Spent:
        """Sends, waits until all of it was handled, and says what it cost.

        `others`: processes whose time counts, too. `until`, given the packets sent, says whether
        those are done.
        """
        pids = [sender.pid, *others, *self.kernel]
        before = processor.used(pids)
        said = sender.ask(**how)
        deadline = time.monotonic() + 30
        while not until(said["sent"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        # Blocks that are not full leave the rings by a timer.
        time.sleep(0.1)
        after = processor.used(pids)
        each = {pid: after[pid] - before[pid] for pid in pids}
        return Spent(said["sent"], said["seconds"], sum(each.values()), each)
