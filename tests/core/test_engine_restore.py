"""The engine's table, row by row: restore writes the true addresses into the packets."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.core.talks import HEADER, REQUEST, TRUTH, counted, drive, talk
from tests.core.test_engine_network import icmp_about, icmp_sum, quoted_in
from tests.support import headers
from tests.support.dissect import dissect
from tests.support.driver import Driver, gateway
from tests.support.legs import LEG4, LEG6, PAD_HOP_BY_HOP, ROUTER_ALERT
from tests.support.packets import Leg
from tests.support.transcript import Talk

TRUE4 = Leg(
    client=headers.PEER[0],
    client_port=headers.PEER[1],
    server=headers.DESTINATION[0],
    server_port=headers.DESTINATION[1],
)
TRUE6 = Leg(
    client=headers.PEER6[0],
    client_port=headers.PEER6[1],
    server=headers.DESTINATION6[0],
    server_port=headers.DESTINATION6[1],
)
HEADER6 = headers.proxy_v2(headers.PEER6, headers.DESTINATION6)
FAMILIES = pytest.mark.parametrize(
    ("leg", "true"),
    [(LEG4, TRUE4), (LEG6, TRUE4), (LEG4, TRUE6), (LEG6, TRUE6)],
    ids=["v4 on v4", "v4 on v6", "v6 on v4", "v6 on v6"],
)


def restored(driver: Driver | None = None, true: Leg = TRUE4, **changes: object) -> Talk:
    """The conversation whose packets come out between `true`'s addresses."""
    peer, destination = (true.client, true.client_port), (true.server, true.server_port)
    header = headers.proxy_v2(peer, destination)
    driver = driver or drive(mode="restore")
    return talk(driver, **({"header": header, "out_leg": true} | changes))


def restored_start(size: int) -> str:
    """The handshake, held until the header of `size` bytes is known."""
    return f"""
        c>s [S] <mss 1460,sackok>            -> held
        s>c [S.] ack 0 <mss 1460,sackok>     -> held
        c>s [.] 0 ack 0                      -> held
        c>s [P.] 0:{size + 18} ack 0         -> c>s [S] <mss 1460,sackok>
                                             -> s>c [S.] ack 0 <mss 1460,sackok>
                                             -> c>s [.] 0 ack 0
                                             -> c>s [P.] 0:18 ack 0
    """


@FAMILIES
def test_restore_writes_the_true_addresses_into_every_packet(leg: Leg, true: Leg) -> None:
    """The IP header is a new one where peer and leg are of different families."""
    conversation = restored(true=true, leg=leg)
    size = len(conversation.header)
    conversation.check(
        restored_start(size)
        + f"""
        s>c [P.] 0:19 ack {size + 18}        -> s>c [P.] 0:19 ack 18
        c>s [F.] {size + 18} ack 19          -> c>s [F.] 18 ack 19
        s>c [F.] 19 ack {size + 19}          -> s>c [F.] 19 ack 19
        c>s [.] {size + 19} ack 20           -> c>s [.] 19 ack 20
        """
    )
    for frame in conversation.driver.frames:
        out = dissect(frame)
        assert out.version == true.version
        ends = {(true.client, true.client_port), (true.server, true.server_port)}
        assert {out.source, out.destination} == ends
    conversation.driver.finish()
    (record,) = conversation.driver.take_records()
    assert (record["verdict"], record["restored"]) == ("stripped", True)
    # Suricata writes IPv6 addresses in full, and so do records.
    assert record["observed"]["src_ip"] == ip_address(leg.client).exploded
    assert record["true"]["src_ip"] == ip_address(true.client).exploded


@pytest.mark.parametrize("link", ["raw", "sll", "sll2", "null"])
@pytest.mark.parametrize(("leg", "true"), [(LEG4, TRUE6), (LEG6, TRUE4)], ids=["to v6", "to v4"])
def test_restore_ipv6_peer_on_ipv4_leg_over_every_link(leg: Leg, true: Leg, link: str) -> None:
    conversation = restored(drive(mode="restore", link=link), true, leg=leg.with_(link=link))
    conversation.check(restored_start(len(conversation.header)))


@pytest.mark.parametrize("vlans", [(100,), (100, 7)], ids=["802.1Q", "QinQ"])
@FAMILIES
def test_restore_keeps_vlan_tags_and_hardware_addresses(
    leg: Leg, true: Leg, vlans: tuple[int, ...]
) -> None:
    conversation = restored(true=true, leg=leg.with_(vlans=vlans))
    conversation.check(restored_start(len(conversation.header)))
    given = conversation.frame("c>s [S]")
    until = 12 + 4 * len(vlans)
    assert conversation.driver.frames[0][:until] == given[:until]
    assert dissect(conversation.driver.frames[0]).vlans == vlans


@pytest.mark.parametrize(
    ("leg", "true"),
    [
        (LEG4.with_(ip_options=ROUTER_ALERT), TRUE6),
        (LEG6.with_(extensions=(PAD_HOP_BY_HOP,)), TRUE4),
    ],
)
def test_restore_to_the_other_family_leaves_the_old_familys_options_behind(
    leg: Leg, true: Leg
) -> None:
    conversation = restored(true=true, leg=leg)
    conversation.check(restored_start(len(conversation.header)))
    assert all(dissect(frame).extensions == () for frame in conversation.driver.frames)
    assert all(dissect(frame).ip_options == b"" for frame in conversation.driver.frames)


def test_restore_keeps_ip_options_within_a_family() -> None:
    conversation = restored(leg=LEG4.with_(ip_options=ROUTER_ALERT))
    conversation.check(restored_start(28))
    assert all(dissect(frame).ip_options == ROUTER_ALERT for frame in conversation.driver.frames)


def test_restore_holds_a_server_that_speaks_first() -> None:
    """An SMTP server's greeting goes out before or after the header came; it waits for it."""
    restored().check(
        """
        c>s [S]                  -> held
        s>c [S.] ack 0           -> held
        c>s [.] 0 ack 0          -> held
        s>c [P.] 0:19 ack 0      -> held
        c>s [P.] 0:28 ack 19     -> c>s [S]
                                 -> s>c [S.] ack 0
                                 -> c>s [.] 0 ack 0
                                 -> s>c [P.] 0:19 ack 0
                                 -> c>s [.] 0 ack 19
        """
    )


def test_restore_a_lone_syn_is_flushed_with_observed_addresses() -> None:
    conversation = talk(drive(mode="restore", limits={"hold_seconds": 3.0}))
    conversation.check(
        """
        c>s [S]                  -> held
        wait 2s                  -> nothing
        wait 2s                  -> c>s [S]
        """
    )
    conversation.driver.finish()
    assert conversation.driver.frames == [conversation.frame("c>s [S]")]
    assert conversation.driver.take_records()[0]["restored"] is False


def test_restore_a_lone_syn_is_flushed_at_the_end_of_input() -> None:
    conversation = talk(drive(mode="restore"))
    conversation.check("c>s [S] -> held\nend -> c>s [S]")


def test_restore_a_refused_connection_is_flushed_with_observed_addresses() -> None:
    conversation = talk(drive(mode="restore"))
    conversation.check(
        """
        c>s [S]                  -> held
        s>c [R.] 0 ack 0         -> c>s [S]
                                 -> same
        """
    )


def test_restore_the_held_handshake_is_bounded_in_count() -> None:
    conversation = talk(drive(mode="restore", limits={"hold_packets": 3}))
    for _ in range(10):
        conversation.check("c>s [S]")
        assert conversation.driver.packets["held"] <= 3
    assert conversation.driver.frames == [conversation.frame("c>s [S]")] * 10


def test_restore_a_plain_connection_keeps_observed_addresses_untouched() -> None:
    conversation = talk(drive(mode="restore"), header=b"", client=REQUEST)
    frames = [
        conversation.frame(line)
        for line in ("c>s [S]", "s>c [S.] ack 0", "c>s [.] 0 ack 0", "c>s [P.] 0:18 ack 0")
    ]
    assert conversation.driver.run(frames) == frames
    (record,) = conversation.driver.take_records()
    assert (record["verdict"], record["restored"], record["true"]) == ("plain", False, None)


def test_restore_a_header_that_names_nobody_keeps_observed_addresses() -> None:
    conversation = talk(drive(mode="restore"), header=headers.proxy_v2_local())
    conversation.check(restored_start(16))
    conversation.driver.finish()
    (record,) = conversation.driver.take_records()
    assert (record["verdict"], record["restored"], record["true"]) == ("stripped", False, None)


def test_restore_an_incomplete_header_is_flushed_raw_with_observed_addresses() -> None:
    conversation = talk(drive(mode="restore"), stripped=HEADER + REQUEST)
    conversation.check(
        """
        c>s [S]                  -> held
        s>c [S.] ack 0           -> held
        c>s [P.] 0:10 ack 0      -> held
        s>c [R.] 0 ack 10        -> c>s [S]
                                 -> s>c [S.] ack 0
                                 -> c>s [P.] 0:10 ack 0
                                 -> same
        """
    )


def test_restore_an_untrusted_header_is_not_believed() -> None:
    leg = Leg(client="172.16.23.66")
    conversation = talk(drive(mode="restore"), leg=leg, stripped=HEADER + REQUEST)
    lines = ("c>s [S]", "s>c [S.] ack 0", "c>s [P.] 0:46 ack 0")
    frames = [conversation.frame(line) for line in lines]
    assert conversation.driver.run(frames) == frames
    assert conversation.driver.take_records()[0]["verdict"] == "untrusted"


def test_restore_with_stacked_headers_writes_the_innermost() -> None:
    outer = headers.proxy_v2(("10.0.0.9", 1234), ("10.0.0.10", 2345))
    conversation = restored(drive(gateway(depth=2), mode="restore"), header=outer + HEADER)
    conversation.check(restored_start(56))


def test_restore_a_forged_third_header_is_payload() -> None:
    forged = headers.proxy_v2(("198.51.100.66", 666), ("198.51.100.67", 667))
    conversation = restored(client=forged + REQUEST)
    conversation.check(
        """
        c>s [S]                  -> held
        c>s [P.] 0:74 ack 0      -> c>s [S]
                                 -> c>s [P.] 0:46 ack 0
        """
    )


def test_restore_tells_colliding_true_tuples_apart_by_epoch_and_counts_them() -> None:
    """Two connections of the leg claim the same peer, port and destination."""
    driver = drive(mode="restore")
    one = restored(driver)
    two = restored(driver, leg=Leg(client_port=40002), client_isn=77, server_isn=99)
    one.check(restored_start(28))
    two.check(restored_start(28))
    one.check("s>c [P.] 0:19 ack 46 -> s>c [P.] 0:19 ack 18")
    two.check("s>c [P.] 0:19 ack 46 -> s>c [P.] 0:19 ack 18")
    driver.finish()
    records = driver.take_records()
    assert [record["true"] for record in records] == [TRUTH, TRUTH]
    assert len({record["id"] for record in records}) == 2
    assert counted(driver, "true_tuple_collided") == 1


def test_restore_capture_starting_mid_stream_with_a_header() -> None:
    restored().check("c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0")


def test_restore_superframe_to_the_longer_ip_header() -> None:
    """64 KiB with an IPv4 header still fit behind an IPv6 header, whose length does not count."""
    conversation = restored(true=TRUE6, client=bytes(65535 - 40 - len(HEADER6)))
    total = len(conversation.client) + len(HEADER6)
    conversation.check(
        f"""
        c>s [S]                      -> held
        c>s [P.] 0:{total} ack 0     -> c>s [S]
                                     -> c>s [P.] 0:{total - len(HEADER6)} ack 0
        """
    )


@FAMILIES
def test_restore_superframes_are_cut_to_the_mss(leg: Leg, true: Leg) -> None:
    driver = drive(mode="restore", superframes="segment")
    conversation = restored(driver, true, leg=leg, client=bytes(range(250)) * 20)
    size = len(conversation.header)
    conversation.check(
        f"""
        c>s [S] <mss 1460>                   -> held
        s>c [S.] ack 0 <mss 1460>            -> held
        c>s [P.] 0:{size + 5000} ack 0       -> c>s [S] <mss 1460>
                                             -> s>c [S.] ack 0 <mss 1460>
                                             -> c>s [.] 0:1460 ack 0
                                             -> c>s [.] 1460:2920 ack 0
                                             -> c>s [.] 2920:4380 ack 0
                                             -> c>s [P.] 4380:5000 ack 0
        """
    )


@pytest.mark.parametrize("leg", [LEG4, LEG6], ids=["IPv4", "IPv6"])
def test_restore_icmp_errors_quote_the_true_addresses(leg: Leg) -> None:
    true = TRUE4 if leg.version == 4 else TRUE6
    conversation = restored(true=true, leg=leg)
    size = len(conversation.header)
    conversation.check(restored_start(size))
    line = f"c>s [P.] {size}:{size + 18} ack 0"
    ((_, out),) = conversation.driver.push(icmp_about(leg, True, conversation.frame(line)[14:]))
    assert icmp_sum(leg, out) == 0
    _, quote = quoted_in(leg, out)
    expected = Talk(conversation.driver, b"", REQUEST, leg=true).frame("c>s [P.] 0:18 ack 0")[14:]
    tcp = 20 if leg.version == 4 else 40
    addresses = slice(12, 20) if leg.version == 4 else slice(8, 40)
    assert quote[addresses] == expected[addresses]
    assert quote[tcp : tcp + 12] == expected[tcp : tcp + 12]
