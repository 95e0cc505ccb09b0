"""The engine's table, row by row: state is bounded, and nothing is lost silently."""

from __future__ import annotations

import pytest

from tests.core.talks import OPEN, STARTED, drive, talk
from tests.support.legs import LEG4
from tests.support.packets import ACK, PSH, SYN, Leg, Packet


def syn_from(port: int, isn: int = 1) -> bytes:
    return LEG4.with_(client_port=port).frame(Packet(True, isn, 0, SYN))


def test_syn_flood_evicts_only_half_open_entries() -> None:
    driver = drive(limits={"connections": 100, "half_open": 16})
    established = talk(driver)
    established.check(STARTED)
    for port in range(1000, 3000):
        driver.push(syn_from(port))
        assert driver.stats["tracked"] <= 17
    established.check(
        """
        c>s [P.] 28:46 ack 0     -> c>s [P.] 0:18 ack 0
        s>c [P.] 0:19 ack 46     -> s>c [P.] 0:19 ack 18
        """
    )


def test_syn_flood_lets_the_newest_through() -> None:
    """A handshake that completes while the flood runs is still stripped."""
    driver = drive(limits={"connections": 100, "half_open": 16})
    for port in range(1000, 1100):
        driver.push(syn_from(port))
    conversation = talk(driver)
    conversation.check("c>s [S] -> same")
    for port in range(1100, 1108):
        driver.push(syn_from(port))
    conversation.check(
        """
        s>c [S.] ack 0           -> same
        c>s [.] 0 ack 0          -> same
        c>s [P.] 0:46 ack 0      -> c>s [P.] 0:18 ack 0
        """
    )


@pytest.mark.parametrize("mode", ["strip", "restore"])
def test_number_of_connections_is_bounded(mode: str) -> None:
    driver = drive(mode=mode, limits={"connections": 50, "half_open": 16})
    for port in range(1000, 1200):
        conversation = talk(driver, leg=Leg(client_port=port))
        for line in ("c>s [S]", "s>c [S.] ack 0", "c>s [.] 0 ack 0", "c>s [P.] 0:46 ack 0"):
            driver.push(conversation.frame(line))
        assert driver.stats["tracked"] <= 66
    driver.finish()
    records = driver.take_records()
    assert len(records) == 200, "every connection leaves a record, evicted or not"
    assert {record["verdict"] for record in records} == {"stripped"}


def test_restore_syn_flood_holds_no_more_than_its_pool() -> None:
    driver = drive(
        mode="restore",
        limits={"connections": 1000, "half_open": 1000, "hold_total_bytes": 20_000},
    )
    frame = len(syn_from(1))
    for port in range(1000, 3000):
        driver.push(syn_from(port))
        assert driver.packets["held"] * frame <= 20_000
    driver.finish()
    assert len(driver.frames) == 2000


def test_held_packets_of_one_connection_are_bounded() -> None:
    driver = drive(limits={"hold_packets": 32})
    conversation = talk(driver, client=bytes(2000))
    conversation.check(OPEN)
    for at in range(30, 1000, 4):
        driver.push(conversation.frame(f"c>s [.] {at}:{at + 4} ack 0"))
        assert driver.packets["held"] <= 32
    driver.finish()
    assert len(driver.frames) == driver.pushed


def test_fragments_are_bounded() -> None:
    driver = drive(limits={"fragments": 64})
    packet = talk(driver).packet("c>s [P.] 0:46 ack 0")
    for ident in range(2000):
        driver.push(LEG4.fragments(packet.with_(ident=ident), 24)[0])
        assert driver.packets["held"] <= 64
    driver.wait(60)
    assert driver.packets["held"] == 0
    assert driver.packets["emitted"] + driver.packets["dropped"] == 2000


def test_fragments_that_overlap_or_lie_about_their_place_settle() -> None:
    driver = drive()
    conversation = talk(driver)
    conversation.check(OPEN)
    packet = conversation.packet("c>s [P.] 0:46 ack 0")
    body = LEG4.tcp(packet)
    for offset, more in ((0, True), (8, True), (16, True), (65528, False), (48, False), (8, False)):
        piece = LEG4.ip_fragment(True, 6, body[:24], ident=5, offset=offset, more=more)
        driver.push(LEG4.wrap(True, piece))
    driver.finish()


def test_closed_and_idle_connections_expire() -> None:
    driver = drive(limits={"closed_seconds": 60.0, "idle_seconds": 600.0})
    talk(driver).check(STARTED + "c>s [R.] 46 ack 0")
    talk(driver, leg=Leg(client_port=40002)).check(STARTED)
    assert driver.stats["tracked"] == 2
    driver.wait(61)
    assert driver.stats["tracked"] == 1
    driver.wait(600)
    assert driver.stats["tracked"] == 0
    ends = {r["observed"]["src_port"]: r["end"] for r in driver.take_records()}
    assert set(ends) == {40001, 40002}


def test_half_open_connections_expire() -> None:
    driver = drive(limits={"half_open_seconds": 60.0})
    driver.push(syn_from(1))
    assert driver.stats["tracked"] == 1
    driver.wait(61)
    assert driver.stats["tracked"] == 0


def test_late_packets_of_an_expired_connection_are_passed_not_guessed_at() -> None:
    driver = drive(limits={"closed_seconds": 60.0})
    conversation = talk(driver)
    conversation.check(STARTED + "c>s [R.] 46 ack 0")
    driver.wait(61)
    late = LEG4.frame(Packet(True, 5, 5, ACK | PSH, b"x" * 9))
    assert driver.push(late) == [(driver.pushed - 1, late)]


@pytest.mark.parametrize("leap", [-(10**12), 10**12, 10**18], ids=["back", "ahead", "far ahead"])
def test_clock_that_is_set_ends_nothing(leap: int) -> None:
    """One stray timestamp, or a clock that stays where it was set, ages no connection."""
    driver = drive()
    conversation = talk(driver)
    held, done = "c>s [P.] 0:10 ack 0 -> held", "c>s [P.] 10:46 ack 0 -> c>s [P.] 0:18 ack 0"
    conversation.check(OPEN + held)
    driver.now += leap
    driver.push(syn_from(1))
    conversation.check(done)
    stray = talk(driver, leg=Leg(client_port=40002))
    stray.check(OPEN + held)
    driver.now -= leap
    stray.check(done)
    driver.finish()
    verdicts = [record["verdict"] for record in driver.take_records()]
    assert verdicts.count("stripped") == 2


def test_accounts_hold_at_every_step_of_a_mixed_run() -> None:
    """`Driver` asserts in = emitted + merged + dropped + held at each packet."""
    driver = drive(midstream="drop", other="drop", limits={"hold_packets": 4})
    for port in range(1000, 1040):
        conversation = talk(driver, leg=Leg(client_port=port))
        if port % 4:
            conversation.check(OPEN)
        for at in range(0, 28, port % 5 + 3):
            driver.push(conversation.frame(f"c>s [P.] {at}:{at + 9} ack 0"))
        driver.push(LEG4.wrap(True, LEG4.ip(True, 17, bytes(20))))
    driver.finish()
    packets = driver.packets
    assert packets["in"] == packets["emitted"] + packets["merged"] + packets["dropped"]
    assert packets["merged"] > 0
    assert packets["dropped"] > 0


def test_config_that_names_an_unknown_key_or_value_is_refused_by_name() -> None:
    for key, value in (("midstream", "guess"), ("mode", "shred"), ("superframes", "eat")):
        with pytest.raises(ValueError, match=key):
            drive(**{key: value})
