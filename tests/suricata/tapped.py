"""What the tests of the live Suricata share: a tap in a namespace, and attacks written to it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytun import IFF_NO_PI, IFF_TAP, TunTapDevice
from scapy.all import IP, TCP, Ether, Raw  # type: ignore[attr-defined]

_PORTS = itertools.count(40_000)


def tap(name: str = "vtap0") -> TunTapDevice:
    """A tap of that name, up, in the network of this thread; it goes when it is closed."""
    device = TunTapDevice(name, flags=IFF_TAP | IFF_NO_PI)
    device.mtu = 1500
    device.up()
    return device


def attack(device: TunTapDevice, path: str = "/shell") -> int:
    """An HTTP request of somebody and its answer, from SYN to FIN; its source port."""
    port = next(_PORTS)
    there = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(
        src="203.0.113.7", dst="192.168.110.2"
    )
    back = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / IP(
        src="192.168.110.2", dst="203.0.113.7"
    )
    out = {"sport": port, "dport": 80}
    home = {"sport": 80, "dport": port}
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
    asked, told = 2 + len(request), 2 + len(answer)
    for packet in (
        there / TCP(**out, flags="S", seq=1),
        back / TCP(**home, flags="SA", seq=1, ack=2),
        there / TCP(**out, flags="A", seq=2, ack=2),
        there / TCP(**out, flags="PA", seq=2, ack=2) / Raw(request),
        back / TCP(**home, flags="PA", seq=2, ack=asked) / Raw(answer),
        there / TCP(**out, flags="FA", seq=asked, ack=told),
        back / TCP(**home, flags="FA", seq=told, ack=asked + 1),
        there / TCP(**out, flags="A", seq=asked + 1, ack=told + 1),
    ):
        device.write(bytes(packet))
    return port


def events(eve: Path) -> list[dict[str, Any]]:
    """The events in a file; a line that is not whole yet is left out."""
    if not eve.exists():
        return []
    return [json.loads(line) for line in eve.read_bytes().split(b"\n")[:-1] if line]


def alerts(eve: Path) -> set[tuple[int, int]]:
    """Source port and signature of each alert."""
    return {
        (event["src_port"], event["alert"]["signature_id"])
        for event in events(eve)
        if event["event_type"] == "alert"
    }


def came(condition: Callable[[], object], seconds: float) -> bool:
    """Whether the condition holds within so many seconds; returns once it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def until(condition: Callable[[], object], what: object = "", seconds: float = 120.0) -> None:
    """Returns once the condition holds; AssertionError naming `what` if it never does."""
    if not came(condition, seconds):
        raise AssertionError(f"waited in vain for {what() if callable(what) else what}")
