"""A strip by second sight: is told each connection's header length, sees no loss, holds nothing.

It stands in for the engine where the tests of these tools need one. It works on whole segments by
their offsets, through `dissect` and `packets`, and shares nothing with the engine.
"""

from __future__ import annotations

import struct
from typing import Any

from tests.support.dissect import Segment, dissect, options_of
from tests.support.packets import (
    ACK,
    FIN,
    RST,
    SYN,
    Leg,
    Packet,
    join_options,
    sack,
)


class NaiveStrip:
    """Strips `header` bytes from the client's stream on `leg`. Loss-free conversations only."""

    def __init__(self, leg: Leg, header: int) -> None:
        self.leg = leg
        self.header = header
        self.isn: int | None = None
        self.acked = {True: -1, False: -1}
        self.counts = {"in": 0, "emitted": 0, "merged": 0, "dropped": 0, "held": 0, "frames_out": 0}

    def push(
        self, ts_ns: int, frame: bytes, *, link: str = "ethernet", **about: Any
    ) -> list[tuple[int, bytes]]:
        slot = self.counts["in"]
        self.counts["in"] += 1
        segment = dissect(frame, link)
        packet = self._shift(segment)
        if packet is None:
            self.counts["merged"] += 1
            return []
        self.counts["emitted"] += 1
        self.counts["frames_out"] += 1
        return [(slot, self.leg.frame(packet))]

    def _shift(self, segment: Segment) -> Packet | None:
        from_client = segment.source == (self.leg.client, self.leg.client_port)
        if self.isn is None:
            self.isn = segment.seq
        base = self.isn + 1
        seq, ack, payload, options = segment.seq, segment.ack, segment.payload, segment.options
        if from_client:
            offset = (seq - base) % 2**32
            if segment.flags & SYN:
                payload = payload[self.header :]
            elif offset < 2**31:
                cut = min(max(self.header - offset, 0), len(payload))
                payload = payload[cut:]
                seq = base + max(offset - self.header, 0)
            news = ack != self.acked[True] or segment.flags & (SYN | FIN | RST)
            if segment.payload and not payload and not news:
                return None
        else:
            ack = base + self._below(ack - base) if segment.flags & ACK else ack
            row = []
            for kind, value in options_of(segment):
                if kind == 5:
                    words = struct.unpack(f"!{len(value) // 4}I", value)
                    edges = [base + self._below(word - base) for word in words]
                    pairs = list(zip(edges[::2], edges[1::2], strict=True))
                    pairs = [pair for pair in pairs if pair[0] != pair[1]]
                    row += [sack(pairs)] if pairs else []
                else:
                    row.append(bytes((kind, 2 + len(value))) + value)
            options = join_options(*row)
        self.acked[from_client] = ack
        return Packet(
            from_client,
            seq,
            ack,
            segment.flags,
            payload,
            options,
            segment.window,
            segment.urgent,
            segment.ident,
        )

    def _below(self, offset: int) -> int:
        offset %= 2**32
        return offset if offset >= 2**31 else max(offset - self.header, 0)

    def advance(self, ts_ns: int) -> list[tuple[int, bytes]]:
        return []

    def finish(self) -> list[tuple[int, bytes]]:
        return []

    def take_records(self) -> bytes:
        return b""

    def stats(self) -> dict[str, Any]:
        merged = {"header": self.counts["merged"]} if self.counts["merged"] else {}
        return {"packets": dict(self.counts), "merged": merged, "dropped": {}}
