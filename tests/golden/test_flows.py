"""Flow records of real captures say what the gateways themselves logged."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from typing import Any

import pytest

from fixtures.truth import CAPTURES, Connection, Ends, Truth
from tests.golden.harness import TRUTHS, address, each, in_both_modes, known, replay, replayed

pytestmark = pytest.mark.suricata

Seen = tuple[tuple[Ends, Ends], tuple[Ends, Ends] | None, tuple[str, ...], str]


def _pair(ends: dict[str, Any]) -> tuple[Ends, Ends]:
    return (
        (address(ends["src_ip"]), ends["src_port"]),
        (address(ends["dest_ip"]), ends["dest_port"]),
    )


def _seen(record: dict[str, Any]) -> Seen:
    return (
        _pair(record["observed"]),
        record["true"] and _pair(record["true"]),
        tuple(header["codec"] for header in record["headers"]),
        record["verdict"],
    )


def _told(connection: Connection) -> Seen:
    return connection.observed, connection.true, connection.codecs, connection.verdict


def _tcp(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["observed"]["proto"] == "TCP"]


@each()
@in_both_modes
def test_every_connection_has_its_true_ends_headers_and_verdict(name: str, mode: str) -> None:
    seen = Counter(map(_seen, _tcp(replayed(name, mode).flows)))
    assert seen == Counter(map(_told, known(name).connections))


@each()
@in_both_modes
def test_what_is_restored_is_what_has_a_truth_and_only_in_restore_mode(
    name: str, mode: str
) -> None:
    for record in replayed(name, mode).flows:
        assert record["restored"] == (mode == "restore" and record["true"] is not None), record


def _length(codec: str, true: tuple[Ends, Ends]) -> int | None:
    """How long a header without TLVs is, by its specification."""
    (source, source_port), (target, target_port) = true
    version = ipaddress.ip_address(source).version
    match codec:
        case "proxy-v2":
            return 16 + (12 if version == 4 else 36)
        case "magic":
            return 8 + 1 + (12 if version == 4 else 36)
        case "proxy-v1":
            return len(f"PROXY TCP{version} {source} {target} {source_port} {target_port}\r\n")
    return None


def _plain_headers() -> list[Truth]:
    """Captures whose headers are nothing but addresses; TLVs have no fixed length."""
    return [
        one
        for one in TRUTHS
        if any(connection.true and not connection.tlvs for connection in one.connections)
    ]


@each(_plain_headers())
def test_header_lengths_are_those_of_the_specification(name: str) -> None:
    for record in replayed(name, "strip").flows:
        if record["true"] is not None and record["verdict"] == "stripped":
            header = record["headers"][-1]
            assert header["length"] == _length(header["codec"], _pair(record["true"])), record


def _with_tlvs() -> list[Truth]:
    return [one for one in TRUTHS if any(connection.tlvs for connection in one.connections)]


@each(_with_tlvs())
def test_tlvs_are_kept(name: str) -> None:
    wanted = known(name).connections[0].tlvs
    for record in replayed(name, "strip").flows:
        kept = json.dumps(record["headers"][0]["tlvs"])
        for value in wanted:
            assert value in kept


@each()
@in_both_modes
def test_every_packet_is_accounted_for(name: str, mode: str) -> None:
    packets = replayed(name, mode).summary["packets"]
    accounted = packets["emitted"] + packets["merged"] + packets["dropped"] + packets["held"]
    assert packets["in"] == accounted
    assert packets["held"] == 0


@pytest.mark.parametrize("mode", ["strip", "restore"])
@pytest.mark.parametrize("variant", known("http-proxy-v2").variants)
@pytest.mark.xdist_group("http-proxy-v2")
def test_other_containers_and_link_types_give_the_same_flows(variant: str, mode: str) -> None:
    again = replay(CAPTURES / variant, mode, known("http-proxy-v2").config, suricata=False)
    assert Counter(map(_seen, again.flows)) == Counter(
        map(_seen, replayed("http-proxy-v2", mode).flows)
    )
