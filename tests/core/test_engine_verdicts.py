"""The engine's table, row by row: which connection a packet belongs to, and whose header counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.talks import (
    ANSWER,
    HEADER,
    OPEN,
    REQUEST,
    STARTED,
    TRUTH,
    counted,
    drive,
    talk,
    unstripped,
    verdict,
)
from tests.support import headers
from tests.support.driver import gateway
from tests.support.packets import Leg
from tests.support.transcript import Talk

OUTER = headers.proxy_v2(("10.0.0.9", 1234), ("10.0.0.10", 2345))
FORGED = headers.proxy_v2(("198.51.100.66", 666), ("198.51.100.67", 667))
SAME = """
    c>s [P.] 0:46 ack 0          -> same
    s>c [P.] 0:19 ack 46         -> same
    c>s [F.] 46 ack 19           -> same
"""


def records_of(conversation: Talk) -> list[dict[str, Any]]:
    conversation.driver.finish()
    return conversation.driver.take_records()


# Port reuse


@pytest.mark.parametrize("ending", ["", "c>s [R.] 46 ack 0", "c>s [F.] 46 ack 0"])
def test_port_reuse_is_a_new_epoch_and_late_packets_go_to_the_old_one(ending: str) -> None:
    driver = drive()
    old = talk(driver, client_isn=1000, server_isn=9000)
    new = talk(
        driver,
        header=headers.proxy_v1(),
        client_isn=2_000_000_000,
        server_isn=3_000_000_000,
    )
    old.check(STARTED + ending)
    new.check(OPEN)
    old.check(
        """
        c>s [P.] 28:46 ack 0     -> c>s [P.] 0:18 ack 0
        s>c [P.] 0:19 ack 46     -> s>c [P.] 0:19 ack 18
        """
    )
    size = len(new.header)
    new.check(f"c>s [P.] 0:{size + 18} ack 0 -> c>s [P.] 0:18 ack 0")
    old.check("s>c [.] 19 ack 46 -> s>c [.] 19 ack 18")
    new.check(f"s>c [.] 0 ack {size + 18} -> s>c [.] 0 ack 18")
    driver.finish()
    records = sorted(driver.take_records(), key=lambda record: record["epoch"])
    assert [record["epoch"] for record in records] == [0, 1]
    assert [record["headers"][0]["codec"] for record in records] == ["proxy-v2", "proxy-v1"]
    assert records[0]["id"] != records[1]["id"]


def test_a_repeated_syn_with_the_same_isn_is_no_new_epoch() -> None:
    conversation = talk()
    conversation.check(STARTED + "c>s [S] <mss 1460,sackok,wscale 7> -> same")
    conversation.check("c>s [P.] 28:46 ack 0 -> c>s [P.] 0:18 ack 0")
    assert [record["epoch"] for record in records_of(conversation)] == [0]


@pytest.mark.parametrize("mode", ["strip", "restore"])
def test_a_late_copy_of_the_syn_behind_a_reset_is_no_new_epoch(mode: str) -> None:
    """A capture that duplicates shows it; nobody opens a connection with the old ISN again."""
    conversation = talk(drive(mode=mode))
    lines = ("c>s [S]", "s>c [S.] ack 0", "c>s [P.] 0:46 ack 0", "c>s [R.] 46 ack 0", "c>s [S]")
    conversation.driver.run([conversation.frame(line) for line in lines])
    first, last = conversation.driver.frames[0], conversation.driver.frames[-1]
    assert first == last
    assert [record["epoch"] for record in records_of(conversation)] == [0]


# Capture starts mid-stream


def test_capture_starts_mid_stream_policy_pass() -> None:
    conversation = unstripped(drive(midstream="pass"))
    conversation.check(
        """
        c>s [P.] 30:46 ack 0     -> same
        s>c [P.] 0:19 ack 46     -> same
        c>s [.] 46 ack 19        -> same
        """
    )
    conversation.driver.finish()
    assert verdict(conversation.driver) == "midstream"


def test_capture_starts_mid_stream_policy_drop() -> None:
    conversation = unstripped(drive(midstream="drop"))
    conversation.check(
        """
        c>s [P.] 30:46 ack 0     -> gone
        s>c [P.] 0:19 ack 46     -> gone
        """
    )
    assert conversation.driver.packets["dropped"] == 2
    assert sum(conversation.driver.stats["dropped"].values()) == 2
    conversation.driver.finish()
    assert verdict(conversation.driver) == "midstream"


@pytest.mark.parametrize("policy", ["pass", "drop"])
def test_capture_starts_mid_stream_with_a_full_header_first_is_stripped(policy: str) -> None:
    conversation = talk(drive(midstream=policy))
    conversation.check(
        """
        c>s [P.] 0:46 ack 0      -> c>s [P.] 0:18 ack 0
        s>c [P.] 0:19 ack 46     -> s>c [P.] 0:19 ack 18
        c>s [.] 46 ack 19        -> c>s [.] 18 ack 19
        """
    )
    (record,) = records_of(conversation)
    assert (record["verdict"], record["true"]) == ("stripped", TRUTH)


def test_capture_starts_mid_stream_with_a_part_of_a_header_is_never_guessed() -> None:
    conversation = unstripped()
    conversation.check(
        """
        c>s [P.] 0:10 ack 0      -> same
        c>s [P.] 10:46 ack 0     -> same
        """
    )
    conversation.driver.finish()
    assert verdict(conversation.driver) == "midstream"


def test_capture_starts_with_the_synack_knows_where_the_stream_begins() -> None:
    conversation = talk()
    conversation.check(
        """
        s>c [S.] ack 0           -> same
        c>s [.] 0 ack 0          -> same
        c>s [P.] 0:46 ack 0      -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 46         -> s>c [.] 0 ack 18
        """
    )
    conversation.driver.finish()
    assert verdict(conversation.driver) == "stripped"


# No header, required, malformed


@pytest.mark.parametrize(
    "client",
    [
        b"GET / HTTP/1.0\r\n\r\n" * 3,
        b"SSH-2.0-OpenSSH_9.2p1\r\n" * 3,
        bytes(range(60)),
        b"\r\n" * 30,
    ],
    ids=["HTTP", "SSH", "binary", "begins like proxy-v2"],
)
def test_no_header_where_one_could_be_is_plain_and_unchanged(client: bytes) -> None:
    conversation = talk(header=b"", client=client)
    conversation.check(OPEN + SAME)
    conversation.driver.finish()
    assert verdict(conversation.driver) == "plain"


def test_server_speaks_first_on_a_plain_connection_unchanged() -> None:
    conversation = talk(header=b"", client=b"EHLO x\r\n", server=b"220 decoy ESMTP\r\n")
    conversation.check(
        OPEN
        + """
        s>c [P.] 0:17 ack 0      -> same
        c>s [.] 0 ack 17         -> same
        c>s [P.] 0:8 ack 17      -> same
        """
    )
    conversation.driver.finish()
    assert verdict(conversation.driver) == "plain"


def test_header_required_by_config_and_absent_is_passed_malformed_and_counted() -> None:
    conversation = talk(drive(gateway(required=True)), header=b"", client=REQUEST + bytes(28))
    conversation.check(OPEN + SAME)
    conversation.driver.finish()
    assert verdict(conversation.driver) == "malformed"
    assert conversation.driver.stats["connections"]["malformed"] == 1


MALFORMED = {
    "version 3": HEADER[:12] + b"\x31" + HEADER[13:],
    "address block too short": HEADER[:14] + b"\0\x04" + HEADER[16:],
    "wrong CRC32C": headers.proxy_v2(crc=True)[:-1] + b"\0",
    "v1 with a bad address": b"PROXY TCP4 203.0.113.777 10.0.0.1 1 2\r\n",
    "v1 without CRLF": b"PROXY TCP4 " + b"1" * 120,
    "magic of family 5": headers.MAGIC + b"\x05" + bytes(12),
}


@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED)
def test_header_that_breaks_its_format_is_passed_malformed(header: bytes) -> None:
    conversation = unstripped(header=header)
    size = len(header) + 18
    conversation.check(
        OPEN
        + f"""
        c>s [P.] 0:{size} ack 0      -> same
        s>c [P.] 0:19 ack {size}     -> same
        """
    )
    (record,) = records_of(conversation)
    assert record["verdict"] == "malformed"
    assert record["true"] is None


# Trust


def test_header_from_an_untrusted_endpoint_is_not_believed_and_not_stripped() -> None:
    """Another machine of the bridge connects to gateway2 and forges a header."""
    conversation = unstripped(leg=Leg(client="172.16.23.66"))
    conversation.check(OPEN + SAME)
    (record,) = records_of(conversation)
    assert record["verdict"] == "untrusted"
    assert record["true"] is None
    assert conversation.driver.stats["connections"]["untrusted"] == 1


def test_header_of_a_codec_that_the_leg_does_not_carry_is_not_stripped() -> None:
    conversation = unstripped(drive(gateway(headers=["proxy-v1"])))
    conversation.check(OPEN + SAME)
    assert records_of(conversation)[0]["true"] is None


# Stacked headers


def test_stacked_headers_are_peeled_to_the_configured_depth_innermost_is_the_truth() -> None:
    conversation = talk(drive(gateway(depth=2)), header=OUTER + HEADER)
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:74 ack 0      -> c>s [P.] 0:18 ack 0
        s>c [P.] 0:10 ack 30     -> s>c [P.] 0:10 ack 0
        s>c [.] 10 ack 74        -> s>c [.] 10 ack 18
        """
    )
    (record,) = records_of(conversation)
    assert record["true"] == TRUTH
    assert [(one["codec"], one["length"]) for one in record["headers"]] == [
        ("proxy-v2", 28),
        ("proxy-v2", 28),
    ]


def test_stacked_headers_of_different_codecs_in_small_pieces() -> None:
    stacked = headers.magic(("10.0.0.9", 1234)) + headers.proxy_v1()
    conversation = talk(drive(gateway(depth=2)), header=stacked)
    conversation.check(OPEN)
    size = len(stacked)
    last = (size - 1) // 7 * 7
    for at in range(0, last, 7):
        conversation.check(f"c>s [P.] {at}:{at + 7} ack 0 -> held")
    conversation.check(f"c>s [P.] {last}:{size + 18} ack 0 -> c>s [P.] 0:18 ack 0")
    (record,) = records_of(conversation)
    assert [one["codec"] for one in record["headers"]] == ["magic", "proxy-v1"]
    assert record["true"] == TRUTH


@pytest.mark.parametrize("depth", [1, 2])
def test_one_more_header_than_the_depth_is_the_attackers_payload_and_counted(depth: int) -> None:
    stacked = HEADER if depth == 1 else OUTER + HEADER
    client = FORGED + REQUEST
    conversation = talk(drive(gateway(depth=depth)), header=stacked, client=client)
    size = len(stacked)
    conversation.check(
        OPEN
        + f"""
        c>s [P.] 0:{size + 46} ack 0     -> c>s [P.] 0:46 ack 0
        s>c [.] 0 ack {size + 46}        -> s>c [.] 0 ack 46
        """
    )
    (record,) = records_of(conversation)
    assert (record["verdict"], record["true"]) == ("stripped", TRUTH)
    assert len(record["headers"]) == depth
    assert counted(conversation.driver, "forged_header") == 1


def test_one_more_header_in_a_segment_of_its_own_is_payload_and_counted() -> None:
    conversation = talk(client=FORGED + REQUEST)
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:28 ack 0      -> gone
        c>s [P.] 28:56 ack 0     -> c>s [P.] 0:28 ack 0
        c>s [P.] 56:74 ack 0     -> c>s [P.] 28:46 ack 0
        """
    )
    assert records_of(conversation)[0]["true"] == TRUTH
    assert counted(conversation.driver, "forged_header") == 1


# What the record says


def test_header_that_names_nobody_is_stripped_without_a_truth() -> None:
    local = headers.proxy_v2_local()
    conversation = talk(header=local)
    conversation.check(OPEN + "c>s [P.] 0:34 ack 0 -> c>s [P.] 0:18 ack 0")
    (record,) = records_of(conversation)
    assert (record["verdict"], record["true"]) == ("stripped", None)


def test_sslproxy_line_behind_the_request_line_is_an_excision_at_another_offset() -> None:
    line = headers.sslproxy()
    request, rest = b"GET / HTTP/1.1\r\n", b"Host: decoy\r\n\r\n"
    conversation = Talk(
        drive(gateway(headers=["sslproxy"])),
        client=request + line + rest,
        server=ANSWER,
        stripped=request + rest,
    )
    size = len(line)
    conversation.check(
        OPEN
        + f"""
        c>s [P.] 0:{31 + size} ack 0         -> c>s [P.] 0:31 ack 0
        s>c [.] 0 ack 10                     -> same
        s>c [.] 0 ack {16 + size // 2}       -> s>c [.] 0 ack 16
        s>c [P.] 0:19 ack {31 + size}        -> s>c [P.] 0:19 ack 31
        c>s [.] 10:{16 + size} ack 19        -> c>s [.] 10:16 ack 19
        c>s [F.] {31 + size} ack 19          -> c>s [F.] 31 ack 19
        """
    )
    (record,) = records_of(conversation)
    assert (record["verdict"], record["true"]) == ("stripped", TRUTH)


def test_flow_record_counts_packets_and_bytes_of_both_directions() -> None:
    conversation = talk()
    conversation.check(
        STARTED
        + """
        s>c [P.] 0:19 ack 46     -> s>c [P.] 0:19 ack 18
        c>s [F.] 46 ack 19       -> c>s [F.] 18 ack 19
        s>c [F.] 19 ack 47       -> s>c [F.] 19 ack 19
        c>s [.] 47 ack 20        -> c>s [.] 19 ack 20
        """
    )
    (record,) = records_of(conversation)
    assert record["packets"] == {"to_server": 5, "to_client": 4}
    assert record["start"] == "2026-01-01T00:00:00.001000+0000"
    assert record["end"] == "2026-01-01T00:00:00.009000+0000"
    assert record["headers"] == [{"codec": "proxy-v2", "length": 28, "tlvs": {}}]
    assert conversation.driver.stats["bytes_removed"] == len(HEADER)
    assert conversation.driver.stats["codecs"]["proxy-v2"] == 1
    assert conversation.driver.stats["connections"]["stripped"] == 1
