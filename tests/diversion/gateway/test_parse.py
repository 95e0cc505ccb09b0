"""Headers of others: in pieces, with a tail, of several codecs, and what is none."""

from __future__ import annotations

import ipaddress
import json

import peeltap_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversion.gateway.parse import Header, reader
from diversion.proxy.addresses import Ends
from diversion.proxy.headers import emit_v2, emitter, magic_layout
from diversion.proxy.link import HeadError

V1 = {"name": "proxy-v1", "kind": "proxy-v1"}
V2 = {"name": "proxy-v2", "kind": "proxy-v2"}
MAGIC = {"name": "magic", "kind": "layout", "layout": magic_layout("d1e0c0ffee5eedb5")}
HEADER = Header(("203.0.113.7", 46421), ("192.168.110.2", 80))
V6 = Header(("2001:db8::7", 46421), ("2001:db8:110::2", 80))


@pytest.mark.parametrize("header", [HEADER, V6], ids=["4", "6"])
@pytest.mark.parametrize("codec", [V1, V2, MAGIC], ids=["v1", "v2", "magic"])
@pytest.mark.parametrize("all_codecs", [False, True])
def test_what_the_agent_writes(codec: dict[str, object], header: Header, all_codecs: bool) -> None:
    parse = reader([V1, V2, MAGIC] if all_codecs else [codec])
    stream = emitter(codec)(*header)
    for size in range(1, len(stream)):
        assert parse(stream[:size]) is None
    assert parse(stream) == (len(stream), header)
    assert parse(stream + stream) == (len(stream), header)


V2_BAD = b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c"


@pytest.mark.parametrize(
    "stream",
    [b"GET / HTTP/1.0\r\n\r\n", b"PROXX", b"PROXY TCP4 x", V2_BAD],
)
def test_what_is_no_header(stream: bytes) -> None:
    with pytest.raises(HeadError) as raised:
        reader([V1, V2])(stream)
    assert raised.value.how == "header_malformed"


def test_a_header_that_names_nobody() -> None:
    local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"
    assert reader([V2])(local) == (16, None)
    assert reader([V1])(b"PROXY UNKNOWN\r\n") == (15, None)


def test_what_is_no_codec() -> None:
    with pytest.raises(ValueError, match=r"."):
        reader([{"name": "x", "kind": "nosuch"}])


@given(
    addresses=st.tuples(*[st.ip_addresses(v=4).map(str)] * 2),
    ports=st.tuples(*[st.integers(0, 65535)] * 2),
    tail=st.binary(max_size=40),
)
def test_the_short_way_reads_what_the_core_reads(
    addresses: tuple[str, str], ports: tuple[int, int], tail: bytes
) -> None:
    stream = emit_v2((addresses[0], ports[0]), (addresses[1], ports[1])) + tail
    found = peeltap_core.parse_header(json.dumps(V2).encode(), stream)
    assert found is not None
    true = found["true"]
    header = Header((true["src_ip"], true["src_port"]), (true["dest_ip"], true["dest_port"]))
    # With an empty TLV behind the addresses it is not of the plain kind.
    longer = stream[:14] + b"\0\x0f" + stream[16:28] + b"\x04\0\0"
    try:
        read = reader([V2])(stream)
    except HeadError:
        assert not all(ports) or any(unfit(address) for address in addresses)
        with pytest.raises(HeadError):
            reader([V2])(longer)
        return
    assert read == (found["length"], header)
    assert reader([V2])(longer) == (31, header)


def unfit(address: str) -> bool:
    value = ipaddress.ip_address(address)
    return value.is_multicast or value.is_unspecified or address == "255.255.255.255"


@pytest.mark.parametrize("codec", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("peer", "destination"),
    [
        (("0.0.0.0", 1), ("192.0.2.1", 80)),
        (("203.0.113.7", 0), ("192.0.2.1", 80)),
        (("203.0.113.7", 1), ("192.0.2.1", 0)),
        (("203.0.113.7", 1), ("224.0.0.1", 80)),
        (("255.255.255.255", 1), ("192.0.2.1", 80)),
        (("::", 1), ("2001:db8::1", 80)),
        (("2001:db8::7", 1), ("ff02::1", 80)),
        (("2001:db8::7", 1), ("2001:db8::1", 0)),
        (("::ffff:224.0.0.1", 1), ("2001:db8::1", 80)),
    ],
)
def test_addresses_that_no_connection_has(
    codec: dict[str, object], peer: Ends, destination: Ends
) -> None:
    with pytest.raises(HeadError, match="no connection has"):
        reader([codec])(emitter(codec)(peer, destination))


@pytest.mark.parametrize("header", [HEADER, V6], ids=["4", "6"])
def test_a_header_of_datagrams_is_none_of_a_connection(header: Header) -> None:
    stream = emit_v2(*header)
    with pytest.raises(HeadError, match="datagrams"):
        reader([V2])(stream[:13] + bytes([stream[13] + 1]) + stream[14:])
