"""PROXY protocol against two independent parsers: proxy-protocol and aiosmtpd.

Each header is made by one of the three and read by all of them. Where the parsers are laxer than
the specification, only what ours accepts is compared.
"""

import asyncio
import ipaddress
import json
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import aiosmtpd.proxy_protocol as smtpd
import peeltap_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol import ProxyProtocolChecksumError
from proxyprotocol.result import ProxyResult, ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal
from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

V1 = json.dumps({"name": "proxy-v1", "kind": "proxy-v1"}).encode()
V2 = json.dumps({"name": "proxy-v2", "kind": "proxy-v2"}).encode()

Address = IPv4Address | IPv6Address
Truth = tuple[Address, int, Address, int]

ports = st.integers(0, 65535)


def _truths(addresses: st.SearchStrategy[Address]) -> st.SearchStrategy[Truth]:
    return st.tuples(addresses, ports, addresses, ports)


def _is_native(truth: Truth) -> bool:
    """Not two IPv4-mapped addresses, which we read as what they were: IPv4."""
    return not all(isinstance(ip, IPv6Address) and ip.ipv4_mapped for ip in truth[::2])


truths = st.one_of(_truths(st.ip_addresses(v=4)), _truths(st.ip_addresses(v=6)).filter(_is_native))
values = st.binary(max_size=60)
# Types in which nobody looks for a meaning; text types with text.
tlvs = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([0x01, 0x04, 0x05]), values),
        st.tuples(
            st.just(0x02), st.from_regex(r"[a-z]{1,20}\.example", fullmatch=True).map(str.encode)
        ),
        st.tuples(st.just(0x30), st.from_regex(r"[a-z]{1,20}", fullmatch=True).map(str.encode)),
        st.tuples(st.integers(0xE1, 0xE9), values),
    ),
    max_size=6,
    unique_by=lambda tlv: tlv[0],
)


def ours(codec: bytes, stream: bytes) -> dict[str, Any]:
    header = peeltap_core.parse_header(codec, stream)
    assert header is not None
    assert header["complete"]
    assert header["length"] == len(stream)
    return header


def true_of(header: dict[str, Any]) -> Truth:
    true = header["true"]
    return (
        ipaddress.ip_address(true["src_ip"]),
        true["src_port"],
        ipaddress.ip_address(true["dest_ip"]),
        true["dest_port"],
    )


class Bytes:
    """A stream of bytes as aiosmtpd reads it."""

    def __init__(self, data: bytes) -> None:
        self.reader = asyncio.StreamReader()
        self.reader.feed_data(data)
        self.reader.feed_eof()

    async def read(self, n: int = -1) -> bytes:
        return await self.reader.read(n)

    async def readexactly(self, n: int) -> bytes:
        return await self.reader.readexactly(n)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        return await self.reader.readuntil(separator)


def smtpd_reads(stream: bytes) -> smtpd.ProxyData:
    async def read() -> smtpd.ProxyData:
        return await smtpd.get_proxy(Bytes(stream))

    return asyncio.run(read())


def smtpd_truth(data: smtpd.ProxyData) -> Truth:
    assert data.valid, data.error
    peer, destination = data.src_addr, data.dst_addr
    assert isinstance(peer, IPv4Address | IPv6Address)
    assert isinstance(destination, IPv4Address | IPv6Address)
    assert data.src_port is not None
    assert data.dst_port is not None
    return (peer, data.src_port, destination, data.dst_port)


def result_of(truth: Truth, **more: Any) -> ProxyResult:
    peer, peer_port, destination, destination_port = truth
    if isinstance(peer, IPv4Address) and isinstance(destination, IPv4Address):
        return ProxyResultIPv4((peer, peer_port), (destination, destination_port), **more)
    assert isinstance(peer, IPv6Address)
    assert isinstance(destination, IPv6Address)
    return ProxyResultIPv6((peer, peer_port), (destination, destination_port), **more)


def result_truth(result: ProxyResult) -> Truth:
    assert isinstance(result, ProxyResultIPv4 | ProxyResultIPv6)
    return (*result.source, *result.dest)


def endpoints(truth: Truth) -> tuple[str, int, str, int]:
    return (str(truth[0]), truth[1], str(truth[2]), truth[3])


@given(truth=truths)
def test_v1_of_ours_is_read_alike(truth: Truth) -> None:
    line = peeltap_core.emit_header(V1, *endpoints(truth))
    assert true_of(ours(V1, line)) == truth
    result = ProxyProtocolV1().unpack(line)
    assert result_truth(result) == truth
    assert smtpd_truth(smtpd_reads(line)) == truth


@given(truth=truths)
def test_v1_of_theirs_is_read_alike(truth: Truth) -> None:
    line = ProxyProtocolV1().pack(result_of(truth))
    assert true_of(ours(V1, line)) == smtpd_truth(smtpd_reads(line)) == truth


@given(truth=truths, tlvs=tlvs, crc32c=st.booleans())
def test_v2_of_ours_is_read_alike(
    truth: Truth, tlvs: list[tuple[int, bytes]], crc32c: bool
) -> None:
    header = peeltap_core.emit_proxy_v2(*endpoints(truth), tlvs=tlvs, crc32c=crc32c)
    read = ours(V2, header)
    assert true_of(read) == truth
    assert len(read["tlvs"]) == len(tlvs) + crc32c

    result = ProxyProtocolV2().unpack(header)
    assert result_truth(result) == truth
    assert result.protocol == socket.SOCK_STREAM
    for kind, value in tlvs:
        assert result.tlv.get(kind, b"") == value
    assert result.tlv.authority == read["tlvs"].get("authority")
    assert result.tlv.netns == read["tlvs"].get("netns")
    theirs = None if result.tlv.crc32c is None else f"{result.tlv.crc32c:08x}"
    assert theirs == read["tlvs"].get("crc32c")

    data = smtpd_reads(header)
    assert smtpd_truth(data) == truth
    seen: dict[str, Any] = data.tlv or {}
    for kind, value in tlvs:
        assert seen[smtpd.ProxyTLV.PP2_TYPENAME.get(kind, f"x{kind:02X}")] == value


@given(
    truth=truths,
    unique_id=st.from_regex(r"[0-9A-F:]{1,128}", fullmatch=True),
    authority=st.none() | st.from_regex(r"[a-z]{1,20}\.example", fullmatch=True),
    client=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    verified=st.booleans(),
    cn=st.none() | st.text(st.characters(categories=["L"]), min_size=1, max_size=20),
)
def test_v2_of_theirs_is_read_alike(
    truth: Truth,
    unique_id: str,
    authority: str | None,
    client: tuple[bool, bool, bool],
    verified: bool,
    cn: str | None,
) -> None:
    inner = ProxyProtocolSSLTLV(
        has_ssl=client[0],
        has_cert_conn=client[1],
        has_cert_sess=client[2],
        verified=verified,
        version="TLSv1.3",
        cn=cn,
        cipher="TLS_AES_128_GCM_SHA256",
        sig_alg="SHA256",
        key_alg="RSA2048",
    )
    tlv = ProxyProtocolTLV(unique_id=unique_id.encode(), authority=authority, ssl=inner)
    header = ProxyProtocolV2().pack(result_of(truth, protocol=socket.SOCK_STREAM, tlv=tlv))
    read = ours(V2, header)
    assert true_of(read) == smtpd_truth(smtpd_reads(header)) == truth
    said = read["tlvs"]
    assert said["unique_id"] == unique_id
    assert said.get("authority") == authority
    names = ("ssl", "cert_conn", "cert_sess")
    assert said["ssl"] == {
        "client": [name for name, is_set in zip(names, client, strict=True) if is_set],
        "verify": int(not verified),
        "version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "sig_alg": "SHA256",
        "key_alg": "RSA2048",
        **({"cn": cn} if cn is not None else {}),
    }


@pytest.mark.parametrize("tlv", [ProxyProtocolTLV(), ProxyProtocolTLV(unique_id=b"a")])
def test_v2_local_of_theirs(tlv: ProxyProtocolTLV) -> None:
    header = ProxyProtocolV2().pack(ProxyResultLocal(tlv=tlv))
    read = ours(V2, header)
    assert read["true"] is None
    assert read["tlvs"]["command"] == "local"


@given(truth=truths, tlvs=tlvs, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_wherever_they_refuse_it(
    truth: Truth, tlvs: list[tuple[int, bytes]], at: int, bit: int
) -> None:
    header = bytearray(peeltap_core.emit_proxy_v2(*endpoints(truth), tlvs=tlvs, crc32c=True))
    header[at % len(header)] ^= 1 << bit
    stream = bytes(header) + bytes(256)
    try:
        read = peeltap_core.parse_header(V2, stream)
    except peeltap_core.MalformedHeaderError:
        return
    if read is None or not read["complete"]:
        return
    # What is left is a header that another one became: LOCAL, UNSPEC, or no checksum any more.
    whole = stream[: read["length"]]
    if read["true"] is None:
        assert read["tlvs"].get("command") == "local" or read["tlvs"].get("family") == "unspec"
        return
    assert smtpd_truth(smtpd_reads(whole)) == true_of(read)
    try:
        result = ProxyProtocolV2().unpack(whole)
    except ProxyProtocolChecksumError:
        pytest.fail("a wrong checksum was accepted")
    assert result_truth(result) == true_of(read)


@given(
    st.from_regex(
        rb"PROXY TCP[46] [0-9a-f:.]{2,12} [0-9a-f:.]{2,12} [0-9]{1,6} [0-9]{1,6}\r\n",
        fullmatch=True,
    )
)
def test_almost_lines(line: bytes) -> None:
    try:
        read = peeltap_core.parse_header(V1, line)
    except peeltap_core.MalformedHeaderError:
        read = None
    data = smtpd_reads(line)
    assert (read is not None) == data.valid, data.error
    if read is not None and _is_native(smtpd_truth(data)):
        assert true_of(read) == smtpd_truth(data)


MAGIC = {"name": "ours", "kind": "magic", "magic": "d1e0c0ffee5eedb5"}
HEADER = bytes.fromhex("d1e0c0ffee5eedb5 04 cb007107 b555 c0a86e02 0050")


def test_the_three_answers_and_the_error() -> None:
    codec = json.dumps(MAGIC).encode()
    assert peeltap_core.parse_header(codec, b"GET / HTTP/1.1") is None
    assert peeltap_core.parse_header(codec, HEADER[:-1]) == {"complete": False}
    assert peeltap_core.parse_header(codec, HEADER + b"GET") == {
        "complete": True,
        "codec": "ours",
        "start": 0,
        "length": 21,
        "true": {
            "src_ip": "203.0.113.7",
            "src_port": 46421,
            "dest_ip": "192.168.110.2",
            "dest_port": 80,
        },
        "tlvs": {},
    }
    with pytest.raises(
        peeltap_core.MalformedHeaderError, match="the family is neither IPv4 nor IPv6"
    ):
        peeltap_core.parse_header(codec, HEADER[:8] + b"\x05")
    assert peeltap_core.emit_header(codec, "203.0.113.7", 46421, "192.168.110.2", 80) == HEADER


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"magic": "d1"}, 'codec "ours": magic: "d1" is not 8 bytes in hexadecimal digits'),
        ({"layout": []}, 'codec "ours": layout: is not a key of this kind'),
        (
            {"kind": "layout", "magic": None, "layout": [{"bytes": "00"}, {"u8": "lenght"}]},
            'codec "ours": layout[1].u8: "lenght" is not known; allowed: '
            "family, peer_port, destination_port, length, crc32c, crc32, value",
        ),
    ],
)
def test_a_codec_that_is_none(change: dict[str, Any], error: str) -> None:
    codec = json.dumps(MAGIC | change).encode()
    with pytest.raises(ValueError, match="codec") as caught:
        peeltap_core.parse_header(codec, b"")
    assert str(caught.value) == error


def test_addresses_that_no_header_carries() -> None:
    with pytest.raises(ValueError, match='peer: "host" is not an IP address'):
        peeltap_core.emit_header(V1, "host", 1, "192.0.2.1", 2)
    with pytest.raises(ValueError, match="two families"):
        peeltap_core.emit_header(V1, "2001:db8::1", 1, "192.0.2.1", 2)
    with pytest.raises(ValueError, match="do not fit"):
        peeltap_core.emit_proxy_v2("192.0.2.7", 1, "192.0.2.1", 2, tlvs=[(1, bytes(65536))])
