"""Whatever bytes a frame holds: no exception, no packet lost silently, and what is not ours stays
as it is. `Driver` asserts the accounts at every step.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peeltap_core import Engine

from tests.property.strategies import Case, cases
from tests.support.dissect import dissect
from tests.support.driver import Driver, configure
from tests.support.legs import LEGS

LINKS = ("ethernet", "raw", "sll", "sll2", "null")
STARTS = {
    "ethernet": (b"", b"\x02" * 12 + b"\x08\0\x45", b"\x02" * 12 + b"\x86\xdd\x60", b"\x02" * 12),
    "raw": (b"", b"\x45", b"\x60"),
    "sll": (b"", bytes(14) + b"\x08\0\x45", bytes(14) + b"\x86\xdd\x60"),
    "sll2": (b"", b"\x08\0" + bytes(18) + b"\x45", b"\x86\xdd" + bytes(18) + b"\x60"),
    "null": (b"", b"\2\0\0\0\x45", b"\0\0\0\2\x45", b"\x1e\0\0\0\x60"),
}


@pytest.mark.parametrize("mode", ["strip", "restore"])
@pytest.mark.parametrize("link", LINKS)
@given(data=st.data())
def test_random_frames(mode: str, link: str, data: st.DataObject) -> None:
    frame = st.builds(bytes.__add__, st.sampled_from(STARTS[link]), st.binary(max_size=100))
    driver = Driver(Engine(configure(mode=mode)), link)
    driver.run(data.draw(st.lists(frame, max_size=8)))
    driver.take_records()


@st.composite
def mutations(draw: st.DrawFn, frame: bytes) -> bytes:
    """The frame with bytes changed, cut off or appended."""
    kind = draw(st.sampled_from(["flip", "flip", "cut", "grow", "word"]))
    at = draw(st.integers(0, max(len(frame) - 1, 0)))
    if kind == "cut":
        return frame[:at]
    if kind == "grow":
        return frame + draw(st.binary(min_size=1, max_size=20))
    edited = bytearray(frame)
    if kind == "word" and at + 2 <= len(edited):
        # Lengths and offsets lie best at the edges.
        value = draw(st.sampled_from([0, 1, 19, 20, 39, 40, 0x7FFF, 0x8000, 0xFFFF]))
        struct.pack_into("!H", edited, at, value)
    elif edited:
        # The link, IP and TCP headers are where a flipped byte means most.
        at %= min(len(edited), 90)
        edited[at] ^= draw(st.integers(1, 255))
    return bytes(edited)


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(case=cases(), data=st.data())
def test_mutated_frames(mode: str, case: Case, data: st.DataObject) -> None:
    driver = Driver(Engine(configure(mode=mode)), case.leg.link)
    mutated = data.draw(st.sets(st.integers(0, 30), min_size=1, max_size=6), "mutated")
    for n, frame in enumerate(case.frames):
        if n in mutated:
            frame = data.draw(mutations(frame), f"frame {n}")
        driver.push(frame)
    driver.finish()
    driver.take_records()


@given(case=cases(), data=st.data())
def test_frames_cut_by_a_snap_length(case: Case, data: st.DataObject) -> None:
    snap = data.draw(st.integers(20, 200), "snap length")
    driver = Driver(Engine(configure()), case.leg.link)
    for frame in case.frames:
        driver.push(frame[:snap], orig_len=len(frame))
    driver.finish()


@given(case=cases(disturbed=False), data=st.data())
def test_a_checksum_that_was_bad_on_the_wire_stays_bad(case: Case, data: st.DataObject) -> None:
    """One payload byte of one packet is damaged; the packet comes out damaged or not at all."""
    full = [n for n, packet in enumerate(case.packets) if packet.payload]
    if not full:
        return
    damaged = data.draw(st.sampled_from(full), "damaged")
    frames = case.frames
    at = frames[damaged].rindex(case.packets[damaged].payload)
    at += data.draw(st.integers(0, len(case.packets[damaged].payload) - 1), "at")
    frames[damaged] = (
        frames[damaged][:at] + bytes((frames[damaged][at] ^ 0x10,)) + frames[damaged][at + 1 :]
    )
    driver = Driver(Engine(configure()), case.leg.link)
    driver.run(frames)
    for slot, frame in driver.emitted:
        wrong = ("TCP checksum",) if slot == damaged else ()
        assert dissect(frame, case.leg.link).faults == wrong, slot


def strangers(draw: st.DrawFn, case: Case) -> bytes:
    """A frame that is no TCP, or TCP of another leg."""
    leg = case.leg
    kind = draw(st.sampled_from(["udp", "icmp echo", "other port", "arp", "esp"]))
    body = draw(st.binary(max_size=64))
    if kind == "udp":
        ports = struct.pack("!HHHH", leg.client_port, leg.server_port, 8 + len(body), 0)
        return leg.wrap(True, leg.ip(True, 17, ports + body))
    if kind == "icmp echo":
        # Type 8 (or 128 for IPv6), echo request; its checksum is nobody's matter here.
        number, protocol = (8, 1) if leg.version == 4 else (128, 58)
        return leg.wrap(True, leg.ip(True, protocol, bytes((number, 0)) + bytes(6) + body))
    if kind == "other port":
        return leg.with_(server_port=22).frame(case.packets[0].with_(payload=body))
    if kind == "arp" and leg.link == "ethernet":
        return b"\xff" * 6 + b"\2" * 6 + b"\x08\x06" + body
    return leg.wrap(True, leg.ip(True, 50, body))


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(case=cases(legs=LEGS), data=st.data())
def test_untracked_traffic_is_untouched_to_the_byte(
    mode: str, case: Case, data: st.DataObject
) -> None:
    driver = Driver(Engine(configure(mode=mode)), case.leg.link)
    given_in: dict[int, bytes] = {}
    for frame in case.frames:
        if data.draw(st.booleans()):
            stranger = data.draw(st.composite(strangers)(case))
            given_in[driver.pushed] = stranger
            driver.push(stranger)
        driver.push(frame)
    driver.finish()
    assert {slot: frame for slot, frame in driver.emitted if slot in given_in} == given_in
