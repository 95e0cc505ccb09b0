"""Two TCP endpoints on a leg, and the packets that a capture between them sees.

The endpoints behave: they acknowledge what arrived, offer SACK and D-SACK blocks, retransmit with
other boundaries. A segment's `Fate` says whether the capture saw it and whether it arrived, which
gives real loss (before or behind the capture point) and loss of the capture itself. `disturb` then
does to the captured packets what captures do: delay, duplication, copies with other bytes.

Offsets count from the first byte of a stream: `seq = isn + 1 + offset`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.support import packets
from tests.support.packets import ACK, FIN, PSH, RST, SYN, Leg, Packet


class Fate(enum.Enum):
    """What became of a segment."""

    ARRIVED = "captured, and arrived"
    LOST_BEHIND = "captured, then lost"
    LOST_BEFORE = "lost before the capture point"
    MISSED = "arrived, but the capture missed it"

    @property
    def captured(self) -> bool:
        return self in (Fate.ARRIVED, Fate.LOST_BEHIND)

    @property
    def arrived(self) -> bool:
        return self in (Fate.ARRIVED, Fate.MISSED)


class Ranges:
    """Sorted disjoint half-open ranges."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def add(self, left: int, right: int) -> None:
        if left >= right:
            return
        kept = []
        for a, b in self.spans:
            if b < left or a > right:
                kept.append((a, b))
            else:
                left, right = min(a, left), max(b, right)
        self.spans = sorted([*kept, (left, right)])

    def contiguous(self) -> int:
        """The end of the range that begins at 0."""
        return self.spans[0][1] if self.spans and self.spans[0][0] == 0 else 0

    def missing(self, end: int) -> list[tuple[int, int]]:
        """The gaps below `end`."""
        gaps, at = [], 0
        for a, b in self.spans:
            if a > at:
                gaps.append((at, min(a, end)))
            at = max(at, b)
        if at < end:
            gaps.append((at, end))
        return [(a, b) for a, b in gaps if a < b]


@dataclass(slots=True)
class Side:
    """One endpoint: what it sends, and what arrived at it."""

    isn: int
    stream: bytes
    next: int = 0
    finished: bool = False
    arrived: Ranges = field(default_factory=Ranges)
    peer_finished: int | None = None
    duplicate: tuple[int, int] | None = None
    ident: int = 100

    @property
    def acked(self) -> int:
        """The stream offset of the peer that this side acknowledges; a FIN counts one."""
        offset = self.arrived.contiguous()
        return offset + 1 if self.peer_finished == offset else offset


@dataclass(slots=True)
class Conversation:
    """One TCP connection whose client stream is `header + client` and whose server stream is
    `server`; `captured` are the packets that the capture saw, in its order.
    """

    leg: Leg
    header: bytes
    client: bytes
    server: bytes
    client_isn: int = 1_000_000
    server_isn: int = 5_000_000
    use_timestamps: bool = False
    use_sack: bool = True
    captured: list[Packet] = field(default_factory=list)
    _clock: int = 70_000
    _sides: dict[bool, Side] = field(init=False)

    def __post_init__(self) -> None:
        self._sides = {
            True: Side(self.client_isn, self.header + self.client),
            False: Side(self.server_isn, self.server),
        }

    def side(self, from_client: bool) -> Side:
        return self._sides[from_client]

    # What endpoints do

    def handshake(self, fast_open: int | None = None, *, final_ack: bool = True) -> None:
        """SYN, SYN/ACK and ACK. With `fast_open`, the SYN carries that many bytes; the server
        takes them in (RFC 7413).
        """
        options = [packets.mss(1460), packets.window_scale(7)]
        if self.use_sack:
            options.append(packets.SACK_PERMITTED)
        early = b""
        client = self.side(True)
        if fast_open is not None:
            early = client.stream[:fast_open]
        for from_client in (True, False):
            side, peer = self.side(from_client), self.side(not from_client)
            row = list(options)
            if self.use_timestamps:
                row.append(self._timestamps())
            if fast_open is not None and from_client:
                row.append(packets.fast_open())
            self._capture(
                Packet(
                    from_client,
                    side.isn,
                    0 if from_client else peer.isn + 1 + side.acked,
                    SYN if from_client else SYN | ACK,
                    early if from_client else b"",
                    packets.join_options(*row),
                )
            )
            if from_client:
                client.next = len(early)
                peer.arrived.add(0, len(early))
        if final_ack:
            self.ack(True)

    def send(self, from_client: bool, size: int, fate: Fate = Fate.ARRIVED) -> None:
        """Sends the next `size` bytes of the stream, as far as there are any."""
        side = self.side(from_client)
        end = min(side.next + size, len(side.stream))
        if end > side.next:
            self._segment(from_client, side.next, end, fate)
            side.next = end

    def resend(self, from_client: bool, left: int, right: int, fate: Fate = Fate.ARRIVED) -> None:
        """Sends bytes `[left, right)` again, as far as they were sent before."""
        right = min(right, self.side(from_client).next)
        if 0 <= left < right:
            self._segment(from_client, left, right, fate)

    def ack(self, from_client: bool) -> None:
        side = self.side(from_client)
        self._segment(from_client, side.next + side.finished, None, Fate.ARRIVED)

    def keepalive(self, from_client: bool, *, garbage: bytes = b"") -> None:
        """A segment just below what was sent, of no byte or one (RFC 9293 §3.8.4)."""
        side = self.side(from_client)
        self._capture(
            Packet(
                from_client,
                side.isn + side.next,
                self._ack_number(from_client),
                ACK,
                garbage,
                self._row(from_client),
            )
        )

    def fin(self, from_client: bool) -> None:
        """Closes a direction; everything before must have been sent."""
        side, peer = self.side(from_client), self.side(not from_client)
        side.finished = True
        peer.peer_finished = len(side.stream)
        self._segment(from_client, len(side.stream), None, Fate.ARRIVED, FIN)

    def rst(self, from_client: bool) -> None:
        side = self.side(from_client)
        self._capture(
            Packet(
                from_client,
                side.isn + 1 + side.next,
                self._ack_number(from_client),
                RST | ACK,
            )
        )

    def repair(self, sizes: Sequence[int] = (1460,)) -> None:
        """Sends what is not sent yet and repeats what has not arrived, in pieces of `sizes`."""
        for from_client in (True, False):
            turn = 0
            side, peer = self.side(from_client), self.side(not from_client)
            while True:
                size = sizes[turn % len(sizes)]
                turn += 1
                gaps = peer.arrived.missing(side.next)
                if gaps:
                    left, right = gaps[0]
                    self.resend(from_client, left, min(right, left + size))
                elif side.next < len(side.stream):
                    self.send(from_client, size)
                else:
                    break
            self.ack(not from_client)

    def close(self, ending: str) -> None:
        """`fin`: both sides close; `rst`: the client resets; `open`: nothing."""
        if ending == "fin":
            self.fin(True)
            self.fin(False)
            self.ack(True)
        elif ending == "rst":
            self.rst(True)

    # How their packets look

    def _segment(
        self, from_client: bool, left: int, right: int | None, fate: Fate, flags: int = 0
    ) -> None:
        side, peer = self.side(from_client), self.side(not from_client)
        payload = b"" if right is None else side.stream[left:right]
        if payload:
            flags |= PSH
        packet = Packet(
            from_client,
            side.isn + 1 + left,
            self._ack_number(from_client),
            ACK | flags,
            payload,
            self._row(from_client),
        )
        if fate.captured:
            self._capture(packet)
        if fate.arrived and right is not None:
            if left < peer.arrived.contiguous():
                peer.duplicate = (left, min(right, peer.arrived.contiguous()))
            peer.arrived.add(left, right)

    def _ack_number(self, from_client: bool) -> int:
        return self.side(not from_client).isn + 1 + self.side(from_client).acked

    def _timestamps(self) -> bytes:
        self._clock += 1
        return packets.timestamps(self._clock, self._clock - 40)

    def _row(self, from_client: bool) -> bytes:
        side, peer = self.side(from_client), self.side(not from_client)
        options = [self._timestamps()] if self.use_timestamps else []
        if self.use_sack:
            acked = side.arrived.contiguous()
            blocks = [span for span in side.arrived.spans if span[0] > acked]
            if side.duplicate is not None:
                # RFC 2883: the first block reports the duplicate, once.
                blocks.insert(0, side.duplicate)
                side.duplicate = None
            base = peer.isn + 1
            blocks = [(base + left, base + right) for left, right in blocks]
            if blocks:
                options.append(packets.sack(blocks[: 3 if self.use_timestamps else 4]))
        return packets.join_options(*options)

    def _capture(self, packet: Packet) -> None:
        side = self.side(packet.from_client)
        side.ident += 1
        self.captured.append(packet.with_(ident=side.ident))


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What a capture does to one packet.

    `delay` moves it behind that many later packets, `copy` repeats it that many packets later
    (None: no copy), `forged` makes the copy's payload differ from the original's.
    """

    index: int
    delay: int = 0
    copy: int | None = None
    forged: bool = False


def disturb(
    captured: Sequence[Packet], disturbances: Iterable[Disturbance], header: int
) -> list[Packet]:
    """The packets as a bad capture has them.

    The SYN stays first: without it a capture starts mid-stream, which is another case. A FIN or
    RST does not overtake a packet with header bytes: with an incomplete header it ends the
    connection, again another case. `header` is the header's length.
    """
    if not captured:
        return []
    origin = captured[0].seq + 1
    ends = [n for n, packet in enumerate(captured) if packet.flags & (FIN | RST)]
    first_end = ends[0] if ends else len(captured)

    def earliest(n: int, key: float) -> float:
        packet = captured[n]
        offset = packet.seq - origin
        if packet.from_client and packet.payload and offset < header and n < first_end:
            return min(key, first_end - 0.5)
        return key

    wanted = [(entry.index % len(captured), entry) for entry in disturbances]
    keys = [float(n) for n in range(len(captured))]
    for n, entry in wanted:
        if n and entry.delay:
            keys[n] = earliest(n, n + entry.delay + 0.25)
    row = [(key, n, packet) for n, (key, packet) in enumerate(zip(keys, captured, strict=True))]
    for n, entry in wanted:
        if entry.copy is not None:
            packet = captured[n]
            if entry.forged:
                packet = packet.with_(payload=bytes(byte ^ 0x55 for byte in packet.payload))
            row.append((keys[n] + entry.copy + 0.125, len(row), packet))
    return [packet for _, _, packet in sorted(row, key=lambda place: place[:2])]
