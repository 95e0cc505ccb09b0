"""The engine under test, with its accounts checked at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import orjson

# Every test's clock starts here: 2026-01-01T00:00:00Z, in nanoseconds.
EPOCH_NS = 1_767_225_600 * 10**9
MILLISECOND = 10**6

V2, V1, SSLPROXY = "proxy-v2", "proxy-v1", "sslproxy"
MAGIC_LAYOUT: dict[str, Any] = {
    "name": "magic",
    "kind": "layout",
    "encoding": "binary",
    "layout": [
        {"bytes": "d1e0c0ffee5eedb5"},
        {"u8": "family"},
        {"ip": "peer"},
        {"u16be": "peer_port"},
        {"ip": "destination"},
        {"u16be": "destination_port"},
    ],
}
CODECS: list[dict[str, Any]] = [
    {"name": V2, "kind": V2},
    {"name": V1, "kind": V1},
    {"name": SSLPROXY, "kind": SSLPROXY},
    MAGIC_LAYOUT,
]


def gateway(**changes: Any) -> dict[str, Any]:
    """The rule of the default leg; `from_` stands for the key `from`."""
    rule: dict[str, Any] = {
        "from": "172.16.23.1/32",
        "from_port": None,
        "to": "172.16.23.2/32",
        "to_port": 9000,
        "headers": [V2, V1, "magic"],
        "required": False,
        "depth": 1,
    }
    return rule | {key.rstrip("_"): value for key, value in changes.items()}


def gateway6(**changes: Any) -> dict[str, Any]:
    return gateway(**({"from_": "fd00:23::1/128", "to": "fd00:23::2/128"} | changes))


def configure(*gateways: dict[str, Any], **settings: Any) -> bytes:
    """The engine's configuration. Without gateways: the default legs, IPv4 and IPv6."""
    rules = list(gateways) or [gateway(), gateway6()]
    return orjson.dumps({"codecs": CODECS, "gateways": rules} | settings)


class EngineLike(Protocol):
    """What `Driver` drives: `peeltap_core.Engine`, or the naive one of these tests."""

    @property
    def push(self) -> Callable[..., list[tuple[int, bytes]]]:
        """(ts_ns, frame, *, link, orig_len, ...) -> (slot, frame) of what leaves."""

    def advance(self, ts_ns: int) -> list[tuple[int, bytes]]: ...

    def finish(self) -> list[tuple[int, bytes]]: ...

    def take_records(self) -> bytes: ...

    def stats(self) -> dict[str, Any]: ...


class Driver:
    """Feeds an engine and asserts after each step that no packet is lost silently:
    in = emitted + merged + dropped + held, each of them the sum of its reasons and equal to what
    was seen from outside.

    `emitted` collects (slot, frame) of everything that left, in its order.
    """

    def __init__(self, engine: EngineLike, link: str = "ethernet") -> None:
        self.engine = engine
        self.link = link
        self.now = EPOCH_NS
        self.emitted: list[tuple[int, bytes]] = []
        self.records: list[dict[str, Any]] = []
        self.pushed = 0
        self._slots: set[int] = set()

    def push(self, frame: bytes, **about: Any) -> list[tuple[int, bytes]]:
        """One frame, a millisecond after the one before. `about` is what a source knows of it:
        `orig_len`, `partial_checksum`, `gso_size`.
        """
        self.now += MILLISECOND
        out = self.engine.push(self.now, frame, link=self.link, **about)
        self.pushed += 1
        return self._account(out)

    def run(self, frames: Iterable[bytes]) -> list[bytes]:
        """All frames and the end of the input; the frames that came out."""
        for frame in frames:
            self.push(frame)
        self.finish()
        return self.frames

    def wait(self, seconds: float) -> list[tuple[int, bytes]]:
        """Lets that time pass without a packet, with a timer that ticks at least every 30 s: a
        clock that leaps further is a clock that was set.
        """
        out = []
        until = self.now + int(seconds * 10**9)
        while self.now < until:
            self.now = min(self.now + 30 * 10**9, until)
            out += self._account(self.engine.advance(self.now))
        return out

    def finish(self) -> list[tuple[int, bytes]]:
        out = self._account(self.engine.finish())
        assert self.packets["held"] == 0, "held behind the end of the input"
        return out

    @property
    def frames(self) -> list[bytes]:
        return [frame for _, frame in self.emitted]

    @property
    def stats(self) -> dict[str, Any]:
        return self.engine.stats()

    @property
    def packets(self) -> dict[str, int]:
        packets: dict[str, int] = self.engine.stats()["packets"]
        return packets

    def take_records(self) -> list[dict[str, Any]]:
        """All flow records so far."""
        for line in self.engine.take_records().splitlines():
            self.records.append(orjson.loads(line))
        return self.records

    def _account(self, out: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        stats = self.engine.stats()
        packets = stats["packets"]
        before = None
        for slot, _ in out:
            assert 0 <= slot < self.pushed, f"slot {slot} was never pushed"
            # A slot's frames leave together: more than one where a superframe is cut up.
            assert slot == before or slot not in self._slots, f"slot {slot} left twice"
            self._slots.add(slot)
            before = slot
        self.emitted += out
        settled = packets["emitted"] + packets["merged"] + packets["dropped"]
        assert packets["in"] == self.pushed, packets
        assert packets["in"] == settled + packets["held"], packets
        assert packets["emitted"] == len(self._slots), packets
        assert packets["frames_out"] == len(self.emitted), packets
        assert packets["merged"] == sum(stats["merged"].values()), stats
        assert packets["dropped"] == sum(stats["dropped"].values()), stats
        return out
