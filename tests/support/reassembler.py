"""Frames to byte streams, the way an IDS would: by 5-tuple, VLAN and SYN, first bytes win.

Reports what is wrong with the frames instead of raising, so that a test shows all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.dissect import NotTcp, Segment, dissect, sack_blocks
from tests.support.packets import ACK, FIN, RST, SYN

End = tuple[str, int]

# A packet this near to a connection's numbers belongs to it rather than to a later epoch.
NEAR = 1 << 20


def signed(difference: int) -> int:
    """A difference of sequence numbers, modulo 2^32, in [-2^31, 2^31)."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)


@dataclass
class Stream:
    """One direction. Offsets count from the first byte behind the SYN."""

    isn: int | None = None
    _bytes: bytearray = field(default_factory=bytearray)
    _present: bytearray = field(default_factory=bytearray)
    conflicts: int = 0
    fin: int | None = None
    reset: bool = False
    acked: int = 0
    furthest: int = 0

    def offset(self, seq: int) -> int:
        assert self.isn is not None
        return signed(seq - self.isn - 1)

    def put(self, offset: int, payload: bytes) -> None:
        """Takes in payload; bytes below offset 0 (a keepalive's) are no part of the stream."""
        if offset < 0:
            payload, offset = payload[-offset:], 0
        if not payload:
            return
        end = offset + len(payload)
        if end > len(self._bytes):
            grow = end - len(self._bytes)
            self._bytes += bytes(grow)
            self._present += bytes(grow)
        present = self._present[offset:end]
        if not any(present):
            self._bytes[offset:end] = payload
            self._present[offset:end] = b"\1" * len(payload)
            return
        for n, byte in enumerate(payload, offset):
            if not self._present[n]:
                self._bytes[n] = byte
                self._present[n] = 1
            elif self._bytes[n] != byte:
                self.conflicts += 1

    def whole(self) -> bytes | None:
        """The stream if it has no hole."""
        return bytes(self._bytes) if all(self._present) else None

    def runs(self) -> list[tuple[int, bytes]]:
        """What is there: (offset, bytes) of each run between holes."""
        found, at = [], 0
        while (start := self._present.find(1, at)) >= 0:
            end = self._present.find(0, start)
            end = len(self._bytes) if end < 0 else end
            found.append((start, bytes(self._bytes[start:end])))
            at = end
        return found


@dataclass
class Connection:
    """One TCP connection. `client` sent the SYN, or the first packet where there was none.

    Streams are made at the end: a bad capture may show data before the SYN that numbers it.
    """

    client: End
    server: End
    vlans: tuple[int, ...]
    to_server: Stream = field(default_factory=Stream)
    to_client: Stream = field(default_factory=Stream)
    faults: list[str] = field(default_factory=list)
    # Acknowledgements of what a later packet brings: normal only where a capture reorders.
    early_acks: int = 0
    _segments: list[tuple[str, Segment]] = field(default_factory=list)

    def direction(self, source: End) -> tuple[Stream, Stream]:
        """The stream that `source` sends, and the opposite one."""
        if source == self.client:
            return self.to_server, self.to_client
        return self.to_client, self.to_server

    def push(self, segment: Segment, label: str) -> None:
        self._segments.append((label, segment))

    def owns(self, segment: Segment) -> bool:
        """Is the segment of this use of the ports, by its sequence number?"""
        if segment.flags & SYN and not segment.flags & ACK:
            syns = (one for _, one in self._segments if one.flags & SYN)
            return any(one.seq == segment.seq and one.source == segment.source for one in syns)
        for _, one in reversed(self._segments):
            if one.source == segment.source:
                return abs(signed(one.seq - segment.seq)) < NEAR
            if segment.flags & ACK:
                return abs(signed(one.seq - segment.ack)) < NEAR
        return True

    def finish(self) -> None:
        for _, segment in self._segments:
            sent, _ = self.direction(segment.source)
            if segment.flags & SYN and sent.isn is None:
                sent.isn = segment.seq
        for label, segment in self._segments:
            self._take(segment, label)
        for name, stream in (("client", self.to_server), ("server", self.to_client)):
            if stream.acked > stream.furthest:
                self.faults.append(
                    f"{name}'s byte {stream.acked} was acknowledged, "
                    f"its last ever seen is {stream.furthest}"
                )
            if stream.fin is not None and stream.furthest > stream.fin + 1:
                self.faults.append(f"{name} went on behind its FIN")

    def _take(self, segment: Segment, label: str) -> None:
        sent, opposite = self.direction(segment.source)
        self.faults += [f"{label}: {fault} is wrong" for fault in segment.faults]
        if sent.isn is None:
            sent.isn = (segment.seq - 1) % 2**32
        offset = sent.offset(segment.seq) + (1 if segment.flags & SYN else 0)
        sent.put(offset, segment.payload)
        end = offset + len(segment.payload)
        if segment.flags & FIN:
            if sent.fin is not None and sent.fin != end:
                self.faults.append(f"{label}: a second FIN at {end}, the first was at {sent.fin}")
            sent.fin = end if sent.fin is None else sent.fin
            end += 1
        sent.furthest = max(sent.furthest, end)
        sent.reset |= bool(segment.flags & RST)
        if segment.flags & ACK:
            if opposite.isn is None:
                opposite.isn = (segment.ack - 1) % 2**32
            acked = opposite.offset(segment.ack)
            opposite.acked = max(opposite.acked, acked)
            if acked > opposite.furthest:
                self.early_acks += 1
            for left, right in sack_blocks(segment):
                low, high = opposite.offset(left), opposite.offset(right)
                if low >= high or low < 0:
                    self.faults.append(f"{label}: SACK block {low}:{high}")
                opposite.acked = max(opposite.acked, high)


class Reassembler:
    """Takes frames in their order; `finish` gives the connections in the order of their SYNs."""

    def __init__(self, link: str = "ethernet") -> None:
        self.link = link
        self.connections: list[Connection] = []
        # Frames that hold no whole TCP packet, and why.
        self.others: list[tuple[str, bytes]] = []
        self._epochs: dict[tuple[frozenset[End], tuple[int, ...]], list[Connection]] = {}
        self._count = 0

    def push(self, frame: bytes) -> None:
        label = f"frame {self._count}"
        self._count += 1
        try:
            segment = dissect(frame, self.link)
        except NotTcp as reason:
            self.others.append((str(reason), frame))
            return
        self._connection(segment).push(segment, label)

    def finish(self) -> list[Connection]:
        for connection in self.connections:
            connection.finish()
        return self.connections

    def only(self) -> Connection:
        """The connection of frames that hold exactly one."""
        connections = self.finish()
        assert len(connections) == 1, [(c.client, c.server) for c in connections]
        return connections[0]

    def _connection(self, segment: Segment) -> Connection:
        key = (frozenset((segment.source, segment.destination)), segment.vlans)
        epochs = self._epochs.setdefault(key, [])
        for connection in reversed(epochs):
            if connection.owns(segment):
                return connection
        if epochs and (segment.flags & ACK or not segment.flags & SYN):
            return epochs[-1]
        connection = Connection(segment.source, segment.destination, segment.vlans)
        epochs.append(connection)
        self.connections.append(connection)
        return connection


def reassemble(frames: list[bytes], link: str = "ethernet") -> Reassembler:
    reassembler = Reassembler(link)
    for frame in frames:
        reassembler.push(frame)
    return reassembler
