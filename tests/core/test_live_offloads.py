"""Frames of which something is left to hardware: partial checksums and segments still to be cut."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from peeltap_core import Live

from tests.core.talks import HEADER
from tests.support.driver import configure
from tests.support.packets import SYN, ones_complement
from tests.support.rig import BRIDGE, GSO_TCPV4, NEEDS_CSUM, Rig, Vnet

pytestmark = pytest.mark.netns

CLIENT, SERVER, PORT = "172.16.23.1", "172.16.23.2", 9000
SENT, ANSWERED = os.urandom(300_000), os.urandom(200_000)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(offloads=True) as rig:
        for namespace, interface, address in (
            (rig.host, BRIDGE, CLIENT),
            (rig.guest, "eth0", SERVER),
        ):
            with namespace.netlink() as netlink:
                [index] = netlink.link_lookup(ifname=interface)
                netlink.link("set", index=index, arp=True)
            rig.lab.address(namespace, interface, f"{address}/24")
        yield rig


def converse(rig: Rig, live: Live) -> None:
    """A real connection from the host, whose frames are never cut, to the guest and back."""
    listener = rig.guest.call(socket.create_server, (SERVER, PORT))
    got: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            got.append(stream.read(len(HEADER) + len(SENT)))
            connection.sendall(ANSWERED)

    def ask() -> None:
        with rig.host.call(socket.create_connection, (SERVER, PORT)) as connection:
            connection.sendall(HEADER + SENT)
            with connection.makefile("rb") as stream:
                got.append(stream.read())

    with listener:
        threads = [threading.Thread(target=part) for part in (serve, ask)]
        for thread in threads:
            thread.start()
        rig.until(lambda: not any(map(threading.Thread.is_alive, threads)), live, what="the talk")
    assert got == [HEADER + SENT, ANSWERED]
    for _ in range(5):
        live.step(50)
    rig.taken(live)


def streams(frames: list[tuple[Vnet, bytes]], port: int = PORT) -> tuple[bytes, bytes]:
    """What client and server sent, after every frame's headers were found right."""
    parts: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
    starts: dict[bool, int] = {}
    for vnet, frame in frames:
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        end = 14 + struct.unpack_from("!H", frame, 16)[0]
        assert ones_complement(frame[14:34]) == 0
        assert end == len(frame)
        payload = 34 + (frame[46] >> 4) * 4
        pseudo = frame[26:34] + struct.pack("!HH", 6, end - 34)
        if vnet.flags & NEEDS_CSUM:
            assert (vnet.csum_start, vnet.csum_offset) == (34, 16)
            assert frame[50:52] == (ones_complement(pseudo) ^ 0xFFFF).to_bytes(2, "big")
        else:
            assert ones_complement(pseudo + frame[34:]) == 0
        if vnet.gso_type:
            assert vnet.gso_type == GSO_TCPV4
            assert payload <= vnet.hdr_len <= end
            assert 0 < vnet.gso_size < end - payload
        else:
            assert end - payload <= 1460
        seq = struct.unpack_from("!I", frame, 38)[0]
        to_server = frame[36:38] == port.to_bytes(2, "big")
        if frame[47] & SYN:
            starts[to_server] = (seq + 1) % 2**32
        if end > payload:
            parts[to_server][seq] = frame[payload:]
    whole = []
    for to_server in (True, False):
        stream = b""
        # Retransmitted bytes fall into their places.
        first = starts[to_server]
        for seq in sorted(parts[to_server], key=lambda seq: (seq - first) % 2**32):
            stream = stream[: (seq - first) % 2**32] + parts[to_server][seq]
        whole.append(stream)
    return whole[0], whole[1]


def test_superframes_are_carried_as_what_they_are(rig: Rig) -> None:
    live = rig.live(configure(superframes="keep"), ring_bytes=16 << 20)
    converse(rig, live)
    frames = rig.read_all()
    assert streams(frames) == (SENT, ANSWERED)
    assert any(vnet.gso_type for vnet, _ in frames)
    # How large the kernel makes them depends on how quickly it is answered.
    assert max(len(frame) for _, frame in frames) > 2 * 1460
    assert live.stats()["connections"] == {"stripped": 1}
    assert live.stats()["output"]["without_offloads"] == 0


def test_superframes_are_cut_where_that_is_asked_for(rig: Rig) -> None:
    live = rig.live(configure(superframes="segment"), ring_bytes=16 << 20)
    converse(rig, live)
    frames = rig.read_all()
    assert streams(frames) == (SENT, ANSWERED)
    assert not any(vnet.gso_type for vnet, _ in frames)


def test_restored_superframes_are_right_too(rig: Rig) -> None:
    live = rig.live(configure(mode="restore"), ring_bytes=16 << 20)
    converse(rig, live)
    frames = rig.read_all()
    assert streams(frames, port=80) == (SENT, ANSWERED)
    assert any(vnet.gso_type for vnet, _ in frames)
    true = {socket.inet_aton(address) for address in ("203.0.113.7", "192.168.110.2")}
    assert {frame[26:30] for _, frame in frames if frame[23] == 6} == true
