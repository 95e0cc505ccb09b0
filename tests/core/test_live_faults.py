"""What can happen to a live capture: each is survived, named and counted."""

from __future__ import annotations

import os
import random
import resource
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from peeltap_core import Live

from tests.core.talks import talk
from tests.core.test_live import frames_of, lines
from tests.support.driver import configure
from tests.support.legs import LEG4, LEG6
from tests.support.rig import BRIDGE, IFF_MULTI_QUEUE, TAP, Rig, packet_socket

pytestmark = pytest.mark.netns


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as rig:
        yield rig


def wakeups(live: Live) -> int:
    """How often this thread sleeps, and so is woken, in two steps of a second in all."""
    before = resource.getrusage(resource.RUSAGE_THREAD)
    for _ in range(2):
        live.step(500)
    after = resource.getrusage(resource.RUSAGE_THREAD)
    return after.ru_nvcsw - before.ru_nvcsw


def test_an_interface_that_is_deleted_and_made_again(rig: Rig) -> None:
    conversation = talk()
    frames = frames_of(conversation)
    live = rig.live(configure())
    rig.settle(live, packets=rig.send(frames[:7]))

    rig.delete(BRIDGE)
    rig.until(lambda: live.state()[0] == "gone", live, what="the end of br1")
    assert rig.host.call(live.reopen) is False
    assert wakeups(live) <= 20
    rig.delete("port0")
    rig.connect()
    assert rig.host.call(live.reopen) is True
    assert live.state() == ("up", "up")

    # What is known of the connection is still known.
    [stats] = rig.settle(live, packets=7 + rig.send(frames[7:]))
    assert [conversation.line(frame) for frame in rig.read()] == lines(1)
    assert stats["capture"]["reopened"] == 1
    assert stats["capture"]["offline_seconds"] > 0


def test_an_interface_that_is_deleted_and_made_again_between_two_looks(rig: Rig) -> None:
    live = rig.live(configure())
    rig.delete(BRIDGE)
    rig.delete("port0")
    rig.connect()
    rig.until(lambda: live.state()[0] == "gone", live, what="the end of the first br1")
    assert rig.host.call(live.reopen) is True
    rig.settle(live, packets=rig.send(frames_of(talk())))


def test_an_interface_that_is_switched_off_and_on(rig: Rig) -> None:
    live = rig.live(configure())
    rig.set_up(BRIDGE, False)
    rig.until(lambda: live.state()[0] == "down", live, what="br1 down")
    rig.set_up(BRIDGE, True)
    rig.until(lambda: live.state()[0] == "up", live, what="br1 up")
    rig.settle(live, packets=rig.send(frames_of(talk())))
    assert live.reopen() is True
    assert live.stats()["capture"]["reopened"] == 0


def test_a_tap_that_is_deleted(rig: Rig) -> None:
    live = rig.live(configure())
    rig.delete(TAP)
    frames = frames_of(talk())
    [stats] = rig.settle(live, packets=rig.send(frames))
    assert live.state() == ("up", "gone")
    assert stats["output"]["dropped"] == {"gone": stats["packets"]["frames_out"]}

    fd = rig.make_tap()
    rig.listen()
    rig.host.call(live.set_output, fd, "tap")
    again = talk(leg=LEG4.with_(client_port=40002))
    [stats] = rig.settle(live, packets=len(frames) + rig.send(frames_of(again)))
    assert [again.line(frame) for frame in rig.read()] == lines(1)
    assert stats["output"]["state"] == "up"


def test_a_tap_that_is_deleted_while_nothing_moves(rig: Rig) -> None:
    live = rig.live(configure())
    rig.delete(TAP)
    rig.until(lambda: live.state()[1] == "gone", live, what="the end of vtap0")


def test_a_tap_that_is_switched_off_and_on(rig: Rig) -> None:
    live = rig.live(configure())
    rig.set_up(TAP, False)
    frames = frames_of(talk())
    [stats] = rig.settle(live, packets=rig.send(frames))
    assert stats["output"]["dropped"] == {"down": stats["packets"]["frames_out"]}
    assert live.state() == ("up", "down")
    rig.set_up(TAP, True)
    rig.until(lambda: live.state()[1] == "up", live, what="vtap0 up")
    rig.settle(live, packets=len(frames) + rig.send(frames))
    assert live.stats()["output"]["frames"] > 0


def test_a_reader_that_is_too_slow_costs_frames_that_are_counted(rig: Rig) -> None:
    rig.lab.connect((rig.host, "veth9", []), (rig.guest, "sensor", []))
    rate = ["rate", "80kbit", "burst", "3000", "limit", "6000"]
    rig.host.run(["tc", "qdisc", "add", "dev", "veth9", "root", "tbf", *rate])
    frame = LEG4.wrap(True, LEG4.ip(True, 17, bytes(1000)))
    with rig.host.call(lambda: packet_socket("veth9", vnet=True)) as output:
        live = rig.live(configure(), output_fd=output.fileno(), output="packet")
        [stats] = rig.settle(live, packets=rig.send([frame] * 100))
    assert stats["output"]["retried"] > 0
    assert set(stats["output"]["dropped"]) == {"full"}
    assert stats["output"]["frames"] > 0
    assert stats["capture"]["kernel_drops"] == 0


def test_a_ring_that_overflows_is_counted_and_recovers(rig: Rig) -> None:
    live = rig.live(configure(), ring_bytes=1 << 20)
    frame = LEG4.wrap(True, LEG4.ip(True, 17, bytes(1400)))
    count = rig.send([frame] * 2000)
    [stats] = rig.settle(live, packets=count)
    capture = stats["capture"]
    assert 0 < capture["kernel_drops"] < count
    assert capture["freezes"] > 0
    assert capture["kernel_received"] == capture["packets"] + capture["kernel_drops"] == count
    rig.read()
    rig.settle(live, packets=count + rig.send([frame] * 100))
    assert rig.read() == [frame] * 100


def garbage(count: int) -> Iterator[bytes]:
    """Frames that are hardly any: valid IPv4 around random TCP, random ethertypes, all lengths."""
    dice = random.Random(3)
    heads = [LEG4.wrap(True, LEG4.ip(True, 6, bytes(size))) for size in range(0, 400, 7)]
    noise = os.urandom(1 << 16)
    addresses = heads[0][:12]
    for index in range(count):
        at = dice.getrandbits(15)
        if index % 3:
            head = heads[index % len(heads)]
            yield head[:34] + noise[at : at + len(head) - 34]
        else:
            yield addresses + noise[at : at + 14 + index % 1400]


def test_a_million_frames_of_garbage(rig: Rig) -> None:
    live = rig.live(configure(limits={"connections": 10_000, "half_open": 1000}))
    rig.listener.close()
    stop = threading.Event()

    def step() -> None:
        while not stop.is_set():
            live.step(100)

    thread = threading.Thread(target=step)
    thread.start()
    try:
        sent = rig.send(garbage(1_000_000))
    finally:
        stop.set()
        thread.join()
    # What the kernel itself refuses to carry never comes here.
    live.step(200)
    stats = rig.taken(live)
    assert sent == 1_000_000
    capture = stats["capture"]
    assert capture["kernel_received"] > 600_000
    assert capture["packets"] + capture["kernel_drops"] == capture["kernel_received"]
    assert stats["events"]["malformed_packet"] > 0
    assert stats["tracked"] <= 11_000
    conversation = talk(leg=LEG6)
    rig.listen()
    frames = frames_of(conversation)
    rig.settle(live, packets=capture["packets"] + capture["kernel_drops"] + rig.send(frames))
    assert [conversation.line(frame) for frame in rig.read()] == lines(1)


def test_each_connection_stays_with_one_worker() -> None:
    with Rig(tap=False) as rig:
        fds = [rig.make_tap(IFF_MULTI_QUEUE) for _ in range(2)]
        rig.listen()
        group = (os.getpid() & 0xFFFF, len(fds))
        lives = [rig.live(configure(), output_fd=fd, fanout=group) for fd in fds]
        talks = [
            talk(leg=leg.with_(client_port=40_000 + index), client_isn=1_000_000 + index)
            for index in range(50)
            for leg in (LEG4, LEG6)
        ]
        count = 0
        for row in zip(*map(frames_of, talks), strict=True):
            count += rig.send(row)
        stats = rig.settle(*lives, packets=count)
        stripped = [each["connections"].get("stripped", 0) for each in stats]
        assert sum(stripped) == len(talks)
        assert min(stripped) > 0
        ports = Counter(
            tuple(sorted((frame[34:36], frame[36:38])))
            for frame in rig.read()
            if frame[12:14] == b"\x08\x00"
        )
        assert set(ports.values()) == {len(lines(1))}


def test_fragments_reach_the_worker_of_their_connection() -> None:
    with Rig(tap=False) as rig:
        fds = [rig.make_tap(IFF_MULTI_QUEUE) for _ in range(2)]
        rig.listen()
        group = (os.getpid() + 1 & 0xFFFF, len(fds))
        lives = [rig.live(configure(), output_fd=fd, fanout=group) for fd in fds]
        count = 0
        for index in range(10):
            conversation = talk(leg=LEG4.with_(client_port=40_000 + index))
            count += rig.send(frames_of(conversation)[:3])
            data = conversation.packet("c>s [P.] 0:46 ack 0").with_(ident=index + 1)
            rig.send(conversation.leg.fragments(data, 32))
            # The kernel makes one datagram of them before it chooses.
            count += 1
        stats = rig.settle(*lives, packets=count)
        assert sum(each["connections"].get("stripped", 0) for each in stats) == 10


def test_an_idle_worker_sleeps(rig: Rig) -> None:
    live = rig.live(configure())
    live.step(100)
    assert wakeups(live) <= 20


def test_others_ask_while_one_steps_and_may_wake_it(rig: Rig) -> None:
    live = rig.live(configure())
    thread = threading.Thread(target=live.step, args=[60_000])
    thread.start()
    assert live.stats()["capture"]["packets"] == 0
    assert live.state() == ("up", "up")
    assert thread.is_alive()
    live.wake()
    thread.join(60)
    assert not thread.is_alive()


def test_records_end_a_step(rig: Rig) -> None:
    live = rig.live(configure(announce=True))
    rig.send(frames_of(talk()))
    live.step(60_000)
    assert live.take_records().count(b"\n") == 1
