"""What must be true of the packets that come out, whatever went in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.property.strategies import Case
from tests.support.dissect import dissect, options_of
from tests.support.packets import ACK, FIN, PSH, RST, SYN, Packet
from tests.support.reassembler import Connection, reassemble, signed


def streams(
    case: Case,
    frames: list[bytes],
    ends: tuple[Any, Any] | None = None,
    *,
    early_numbers: bool = False,
) -> Connection:
    """The frames hold one connection, whose streams are the case's without its header.

    `ends` are the client and server that it must have; None: the leg's. `early_numbers` allows
    packets without data to have left before the header was known.
    """
    leg, talk = case.leg, case.conversation
    reassembler = reassemble(frames, leg.link)
    assert reassembler.others == []
    connection = reassembler.only()
    expected = ends or ((leg.client, leg.client_port), (leg.server, leg.server_port))
    assert (connection.client, connection.server) == expected
    if early_numbers:
        early = ("was acknowledged", "went on behind its FIN")
        connection.faults = [
            fault for fault in connection.faults if not any(words in fault for words in early)
        ]
    assert connection.faults == []
    assert connection.vlans == leg.vlans
    assert connection.to_server.isn == talk.client_isn
    assert connection.to_server.whole() == talk.client
    assert connection.to_client.whole() == talk.server
    if not case.reordered and not early_numbers:
        assert connection.early_acks == 0
    if not case.forged:
        assert connection.to_server.conflicts == connection.to_client.conflicts == 0
    return connection


def shapes(case: Case, emitted: Iterable[tuple[int, bytes]], *, same_headers: bool = True) -> None:
    """Each packet out is the one that went in under its slot but for what the header took.

    `same_headers`: in strip mode, IP headers and addresses are the old ones as well.
    """
    left: set[int] = set()
    for slot, frame in emitted:
        left.add(slot)
        packet = case.packets[slot]
        before = dissect(case.leg.frame(packet), case.leg.link)
        after = dissect(frame, case.leg.link)
        # A segment that lost all its bytes has nothing left to push.
        optional = PSH if before.payload and not after.payload else 0
        assert after.faults == ()
        assert after.window == before.window
        assert after.flags | optional == before.flags | optional
        assert len(after.options) == len(before.options), "option space is kept"
        kept = [option for option in options_of(before) if option[0] != 5]
        assert [option for option in options_of(after) if option[0] != 5] == kept
        if same_headers:
            assert (after.source, after.destination) == (before.source, before.destination)
            assert (after.ident, after.ip_options) == (before.ident, before.ip_options)
            assert after.extensions == before.extensions
        if len(after.payload) != len(before.payload):
            assert after.trailer == b"", "padding must not stay behind a shorter payload"
        if not packet.from_client:
            assert (after.seq, after.payload) == (before.seq, before.payload)
        elif packet.payload:
            _is_the_end_of(packet, before.payload, after.payload)
    for n, packet in enumerate(case.packets):
        if n not in left:
            assert _is_of_the_header_only(case, packet), f"packet {n} was merged away"


def _is_of_the_header_only(case: Case, packet: Packet) -> bool:
    """The client's header bytes alone, or the server's acknowledgement of them and nothing more."""
    header, origin = len(case.header.raw), case.conversation.client_isn + 1
    if packet.flags & (SYN | FIN | RST):
        return False
    if packet.from_client:
        return bool(packet.payload) and signed(packet.seq - origin) + len(packet.payload) <= header
    acked = signed(packet.ack - origin)
    return not packet.payload and packet.window > 0 and 0 < acked <= header


def _is_the_end_of(packet: Packet, before: bytes, after: bytes) -> None:
    assert before.endswith(after), "a segment shrinks from the front"
    assert packet.flags & (ACK | SYN)


def in_order(emitted: Iterable[tuple[int, bytes]]) -> None:
    """One queue in capture order for both directions of a connection."""
    slots = [slot for slot, _ in emitted]
    assert slots == sorted(slots)


def untouched(case: Case, frames: list[bytes]) -> None:
    """The frames are the case's to the byte, with or without their Ethernet padding."""
    bare = case.leg.with_(padded=False)
    assert len(frames) == len(case.packets)
    for frame, packet, given in zip(frames, case.packets, case.frames, strict=True):
        assert frame in (given, bare.frame(packet))


def right_bytes(connection: Connection, client: bytes, server: bytes) -> None:
    """Whatever is there stands at its place; holes stay holes."""
    assert connection.faults == []
    for stream, wanted in ((connection.to_server, client), (connection.to_client, server)):
        for offset, run in stream.runs():
            assert wanted[offset : offset + len(run)] == run
