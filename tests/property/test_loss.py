"""Where the capture lost packets: what comes out stands at its place, and holes stay holes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from peeltap_core import Engine

from tests.property import expect
from tests.property.strategies import Case, Header, conversation, header
from tests.support.conversation import Fate
from tests.support.dissect import dissect
from tests.support.driver import Driver, configure
from tests.support.packets import SYN
from tests.support.reassembler import Connection, reassemble, signed


@st.composite
def lossy_cases(draw: st.DrawFn) -> Case:
    """A conversation whose capture missed packets, though never the two SYNs."""
    head: Header = draw(header())
    talk = draw(conversation(raw=head.raw, fates=tuple(Fate)))
    missed = draw(st.sets(st.integers(0, 40), max_size=6))
    packets = [
        packet for n, packet in enumerate(talk.captured) if packet.flags & SYN or n not in missed
    ]
    return Case(head, talk, packets)


def header_seen(case: Case) -> bool:
    """Was every byte of the header captured, before the first FIN or RST?"""
    seen: set[int] = set()
    for packet in case.packets:
        offset = signed(packet.seq - case.conversation.client_isn - 1)
        if packet.flags & SYN:
            offset = 0
        if packet.from_client:
            seen.update(range(offset, min(offset + len(packet.payload), len(case.header.raw))))
    return len(seen - {-1}) == len(case.header.raw)


@given(lossy_cases())
def test_bytes_behind_a_hole_stand_at_their_place(case: Case) -> None:
    driver = Driver(Engine(configure()), case.leg.link)
    frames = driver.run(case.frames)
    connection = reassemble(frames, case.leg.link).only()
    connection = without_unseen(connection)
    talk = case.conversation
    if header_seen(case):
        expect.right_bytes(connection, talk.client, talk.server)
        expect.shapes(case, driver.emitted)
    else:
        (record,) = driver.take_records()
        assert record["verdict"] in ("incomplete", "plain", "malformed")
        expect.right_bytes(connection, case.header.raw + talk.client, talk.server)
        expect.untouched(case, frames)
    expect.in_order(driver.emitted)


def without_unseen(connection: Connection) -> Connection:
    """What the capture missed may well be acknowledged: that is no fault here."""
    faults = [fault for fault in connection.faults if "was acknowledged" not in fault]
    return replace(connection, faults=faults)


@given(lossy_cases())
def test_the_servers_data_comes_out_byte_for_byte(case: Case) -> None:
    driver = Driver(Engine(configure()), case.leg.link)
    driver.run(case.frames)
    out = {slot: dissect(frame, case.leg.link) for slot, frame in driver.emitted}
    for n, packet in enumerate(case.packets):
        if not packet.from_client and packet.payload:
            assert (out[n].seq, out[n].payload) == (packet.seq % 2**32, packet.payload)
