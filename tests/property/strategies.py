"""Draws conversations: any header, leg, segmentation, loss, retransmission, and bad captures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.support import headers
from tests.support.conversation import Conversation, Disturbance, Fate, disturb
from tests.support.legs import LEGS
from tests.support.packets import Leg, Packet

# Stream contents are slices of this: no two places look alike, so a misplaced byte shows.
_POOL = random.Random(4122).randbytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Header:
    """A header's bytes and what it says; `truth` is None where it names nobody."""

    codec: str
    raw: bytes
    truth: tuple[headers.Address, headers.Address] | None


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation that took place, and its packets as the capture has them."""

    header: Header
    conversation: Conversation
    packets: list[Packet]
    disturbances: tuple[Disturbance, ...] = ()

    @property
    def leg(self) -> Leg:
        return self.conversation.leg

    @property
    def frames(self) -> list[bytes]:
        return [self.leg.frame(packet) for packet in self.packets]

    @property
    def reordered(self) -> bool:
        return any(entry.delay for entry in self.disturbances)

    @property
    def forged(self) -> bool:
        return any(entry.forged for entry in self.disturbances)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What Hypothesis prints of a failing example: the packets, by their stream offsets."""
        talk = self.conversation
        lines = [f"{self.header.codec} {len(self.header.raw)} bytes, {self.leg}"]
        for packet in self.packets:
            here, there = (
                talk.side(who).isn + 1 for who in (packet.from_client, not packet.from_client)
            )
            lines.append(
                f"{'c>s' if packet.from_client else 's>c'} flags {packet.flags:#04x} "
                f"{packet.seq - here}+{len(packet.payload)} ack {packet.ack - there} "
                f"{packet.options.hex()}"
            )
        printer.text("\n    ".join(lines))


def content(size: int, where: int) -> bytes:
    where %= len(_POOL) - size
    return _POOL[where : where + size]


@st.composite
def header(draw: st.DrawFn, *, truthful: bool = False, peer_port: int | None = None) -> Header:
    """Any header of the codecs that stand at a stream's front. `truthful`: one with addresses."""
    kinds = ["proxy-v2", "proxy-v1", "magic", "v2 with TLVs"]
    kind = draw(st.sampled_from(kinds if truthful else [*kinds, "LOCAL", "UNKNOWN"]))
    six = draw(st.booleans())
    ports = st.integers(1, 65535)
    port = draw(ports) if peer_port is None else peer_port
    peer = (headers.PEER6[0] if six else headers.PEER[0], port)
    destination = (headers.DESTINATION6[0] if six else headers.DESTINATION[0], draw(ports))
    truth = (peer, destination)
    if kind == "proxy-v1":
        return Header("proxy-v1", headers.proxy_v1(*truth), truth)
    if kind == "magic":
        return Header("magic", headers.magic(*truth), truth)
    if kind == "LOCAL":
        return Header(
            "proxy-v2", headers.proxy_v2_local(draw(st.sampled_from([b"", b"x" * 12]))), None
        )
    if kind == "UNKNOWN":
        return Header(
            "proxy-v1", headers.proxy_v1_unknown(draw(st.sampled_from(["", " a b"]))), None
        )
    tlvs = b""
    if kind == "v2 with TLVs":
        tlvs = headers.tlv(0x01, b"h2") + headers.tlv(0x02, b"decoy.example")
        tlvs += headers.tlv(0x04, bytes(draw(st.integers(0, 300))))
    return Header("proxy-v2", headers.proxy_v2(*truth, tlvs, crc=bool(tlvs)), truth)


# The first bytes of what a client sends behind its header: another header is its own forgery.
FRONTS = (
    b"",
    b"GET /cgi-bin/.%2e/bin/sh HTTP/1.1\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    headers.proxy_v2(("198.51.100.1", 1), ("198.51.100.2", 2)),
    headers.proxy_v1(("198.51.100.1", 1), ("198.51.100.2", 2)),
    headers.V2_SIGNATURE,
)

# What may look like a header for a while, or like a broken one.
NEARLY = (
    b"",
    b"G",
    b"\r\n\r\n",
    b"PROXY ",
    b"PROXY TCP4 not an address\r\n",
    b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
    headers.V2_SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    headers.V2_SIGNATURE + b"\x21\x11\0\x04" + bytes(4),
    headers.MAGIC + b"\x05" + bytes(12),
    headers.MAGIC[:-1],
)

_SIZES = st.one_of(st.integers(1, 40), st.integers(1, 1460))
# Failing examples shrink to the first. None so small that a header outlasts the hold limits.
_REPAIRS = st.sampled_from((1460, 536, 100, 40, 23))
_ISN = st.one_of(
    st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1, 2**32 - 2, 2**32 - 29]),
    st.integers(2**32 - 65536, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
_WHO = st.booleans()


def _steps(fates: tuple[Fate, ...]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    fate = st.sampled_from(fates)
    return st.lists(
        st.one_of(
            st.tuples(st.just("send"), _WHO, _SIZES, fate),
            st.tuples(st.just("resend"), _WHO, st.integers(0, 600), _SIZES, fate),
            st.tuples(st.just("ack"), _WHO),
            st.tuples(st.just("keepalive"), _WHO, st.booleans()),
        ),
        max_size=24,
    )


@st.composite
def conversation(
    draw: st.DrawFn,
    *,
    raw: bytes,
    fronts: tuple[bytes, ...] = FRONTS,
    legs: tuple[Leg, ...] = LEGS,
    fates: tuple[Fate, ...] = (Fate.ARRIVED, Fate.LOST_BEHIND, Fate.LOST_BEFORE),
    client_isn: int | None = None,
    repaired: bool = True,
) -> Conversation:
    """A conversation in which all bytes arrive; what was lost is repeated until it does."""
    front = draw(st.sampled_from(fronts))
    sizes = st.integers(0, 3000)
    where = draw(st.integers(0, 1 << 16))
    talk = Conversation(
        leg=draw(st.sampled_from(legs)),
        header=raw,
        client=front + content(draw(sizes), where),
        server=content(draw(sizes), where + (1 << 17)),
        client_isn=draw(_ISN) if client_isn is None else client_isn,
        server_isn=draw(_ISN),
        use_timestamps=draw(st.booleans()),
        use_sack=draw(st.booleans()),
    )
    early = draw(st.one_of(st.none(), st.none(), st.none(), st.integers(0, 60)))
    talk.handshake(early, final_ack=draw(st.booleans()))
    # A header cut up finely is the interesting case, and unlikely among free steps.
    for size in draw(st.lists(st.integers(1, 20), max_size=6)):
        talk.send(True, size)
    for action, who, *details in draw(_steps(fates)):
        if action == "send":
            talk.send(who, *details)
        elif action == "resend":
            left, size, fate = details
            talk.resend(who, left, left + size, fate)
        elif action == "ack":
            talk.ack(who)
        else:
            side = talk.side(who)
            # One byte that the peer has already: the right one, or any where none was sent.
            garbage = side.stream[side.next - 1 : side.next] if side.next else b"\0"
            talk.keepalive(who, garbage=garbage if details[0] else b"")
    if repaired:
        talk.repair(draw(st.lists(_REPAIRS, min_size=1, max_size=3)))
        talk.close(draw(st.sampled_from(["fin", "rst", "open"])))
    return talk


DISTURBANCES = st.lists(
    st.builds(
        Disturbance,
        index=st.integers(0, 60),
        delay=st.integers(0, 6),
        copy=st.one_of(st.none(), st.integers(0, 12)),
    ),
    max_size=8,
)
_FORGERIES = st.lists(
    st.builds(
        Disturbance,
        index=st.integers(0, 60),
        copy=st.integers(0, 12),
        forged=st.just(True),
    ),
    max_size=3,
)


@st.composite
def cases(
    draw: st.DrawFn, /, *, truthful: bool = False, disturbed: bool = True, **options: Any
) -> Case:
    """A proxied conversation and a capture of it, bad in every way but loss."""
    head = draw(header(truthful=truthful))
    talk = draw(conversation(raw=head.raw, **options))
    entries = tuple(draw(DISTURBANCES) + draw(_FORGERIES)) if disturbed else ()
    return Case(head, talk, disturb(talk.captured, entries, len(head.raw)), entries)


@st.composite
def plain_cases(draw: st.DrawFn) -> Case:
    """A conversation without a header, and a capture of it."""
    talk = draw(conversation(raw=b"", fronts=(*FRONTS[1:3], *NEARLY)))
    entries = tuple(draw(DISTURBANCES))
    return Case(Header("none", b"", None), talk, disturb(talk.captured, entries, 0), entries)
