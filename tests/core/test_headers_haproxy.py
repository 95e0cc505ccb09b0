"""PROXY protocol as HAProxy itself speaks it: what it sends we read, what we send it accepts."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import peeltap_core
import pytest

from tests.core import haproxy
from tests.core.haproxy import HAProxy

pytestmark = pytest.mark.tool

V1 = json.dumps({"name": "proxy-v1", "kind": "proxy-v1"}).encode()
V2 = json.dumps({"name": "proxy-v2", "kind": "proxy-v2"}).encode()
GREETING = b"EHLO attacker.example\r\n"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    with haproxy.running(tmp_path_factory.mktemp("haproxy")) as running:
        yield running


def addresses(client: socket.socket) -> dict[str, Any]:
    """What the attacker's own socket says: who it is, and what it attacked."""
    peer, destination = client.getsockname(), client.getpeername()
    return {
        "src_ip": peer[0],
        "src_port": peer[1],
        "dest_ip": destination[0],
        "dest_port": destination[1],
    }


def header_of(codec: bytes, server: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Read one byte after the other until a header is complete; also give what stands behind."""
    stream = b""
    while True:
        answer = peeltap_core.parse_header(codec, stream)
        assert answer is not None, stream
        if answer["complete"]:
            break
        byte = server.recv(1)
        assert byte, f"closed behind {stream!r}"
        stream += byte
    assert (answer["start"], answer["length"]) == (0, len(stream))
    rest = b""
    while len(rest) < len(GREETING) and (piece := server.recv(len(GREETING) - len(rest))):
        rest += piece
    whole = peeltap_core.parse_header(codec, stream + rest)
    assert whole == answer
    return answer, rest


@pytest.mark.parametrize(
    ("leg", "codec"),
    [
        ("v1", V1),
        ("v1-ipv6", V1),
        ("v2", V2),
        ("v2-ipv6", V2),
        ("v2-crc32c", V2),
        ("v2-unique-id", V2),
        ("v2-ssl-plain", V2),
    ],
)
def test_header_names_the_real_sockets(proxy: HAProxy, leg: str, codec: bytes) -> None:
    with proxy.through(leg) as (client, server):
        client.sendall(GREETING)
        header, rest = header_of(codec, server)
        assert header["true"] == addresses(client)
        assert rest == GREETING


@pytest.mark.parametrize(("leg", "codec"), [("v1-dual", V1), ("v2-dual", V2)])
def test_an_ipv4_client_of_a_dual_stack_listener_is_ipv4(
    proxy: HAProxy, leg: str, codec: bytes
) -> None:
    with proxy.through(leg, source="127.0.0.1") as (client, server):
        client.sendall(GREETING)
        header, _ = header_of(codec, server)
        assert header["true"] == addresses(client)


@pytest.mark.parametrize(
    ("leg", "codec", "says"),
    [("v1-unix", V1, {"protocol": "unknown"}), ("v2-unix", V2, {"command": "local"})],
)
def test_a_unix_client_has_no_addresses(
    proxy: HAProxy, leg: str, codec: bytes, says: dict[str, str]
) -> None:
    with proxy.through(leg) as (client, server):
        client.sendall(GREETING)
        header, rest = header_of(codec, server)
        assert header["true"] is None
        assert header["tlvs"] == says
        assert rest == GREETING


def test_tlvs_of_a_plain_connection(proxy: HAProxy) -> None:
    with proxy.through("v2-unique-id") as (client, server):
        client.sendall(GREETING)
        header, _ = header_of(V2, server)
        host, port = client.getsockname()
        assert header["tlvs"]["unique_id"] == f"{host}:{port}"
        assert len(header["tlvs"]["crc32c"]) == 8


@pytest.mark.parametrize("identity", [False, True])
def test_tlvs_of_a_tls_connection(proxy: HAProxy, identity: bool) -> None:
    # HAProxy speaks to the gateway only once the handshake is done.
    client = proxy.connect("v2-ssl")
    with proxy.tls(client, "decoy.example", identity=identity) as tls:
        tls.sendall(GREETING)
        with proxy.accepted("v2-ssl") as server:
            header, rest = header_of(V2, server)
        assert header["true"] == addresses(tls)
        assert rest == GREETING
        tlvs = header["tlvs"]
        assert tlvs["alpn"] == tls.selected_alpn_protocol() == "h2"
        assert tlvs["authority"] == "decoy.example"
        assert tlvs["unique_id"] == "{}:{}".format(*tls.getsockname())
        cipher = tls.cipher()
        assert cipher is not None
        assert tlvs["ssl"]["version"] == tls.version()
        assert tlvs["ssl"]["cipher"] == cipher[0]
        assert tlvs["ssl"]["client"] == (["ssl", "cert_conn", "cert_sess"] if identity else ["ssl"])
        assert tlvs["ssl"].get("cn") == ("attacker.example" if identity else None)
        # trustme signs its certificates with ECDSA keys on P-256.
        assert tlvs["ssl"]["key_alg"] == "EC256"
        assert tlvs["ssl"]["sig_alg"] == "ecdsa-with-SHA256"


def test_a_health_check_is_local(proxy: HAProxy) -> None:
    with proxy.accepted("v2-check") as server:
        stream = server.recv(16, socket.MSG_WAITALL)
    header = peeltap_core.parse_header(V2, stream)
    assert header is not None
    assert header["true"] is None
    assert header["tlvs"] == {"command": "local"}


V4 = ("203.0.113.7", 46421, "192.168.110.2", 80)
V6 = ("2001:db8::7", 46421, "2001:db8:0:1::2", 22)
TLVS = [(0x04, b"\0\0\0"), (0x01, b"h2"), (0x02, b"decoy.example"), (0xE5, b"\xff")]


@pytest.mark.parametrize("leg", ["accept", "accept-send-v1"])
@pytest.mark.parametrize(
    "header",
    [
        peeltap_core.emit_header(V1, *V4),
        peeltap_core.emit_header(V1, *V6),
        peeltap_core.emit_header(V2, *V4),
        peeltap_core.emit_header(V2, *V6),
        peeltap_core.emit_proxy_v2(*V4, tlvs=TLVS, crc32c=True),
        peeltap_core.emit_proxy_v2(*V6, tlvs=TLVS, crc32c=True),
    ],
    ids=["v1", "v1-ipv6", "v2", "v2-ipv6", "v2-tlvs", "v2-tlvs-ipv6"],
)
def test_haproxy_accepts_what_we_emit(proxy: HAProxy, leg: str, header: bytes) -> None:
    said = peeltap_core.parse_header(V1, header) or peeltap_core.parse_header(V2, header)
    assert said is not None
    with proxy.connect(leg) as client:
        client.sendall(header + GREETING)
        with proxy.accepted(leg) as server:
            passed_on, rest = header_of(V2 if leg == "accept" else V1, server)
    assert passed_on["true"] == said["true"]
    assert rest == GREETING


# Lines that the specification forbids and HAProxy lets through (port 65536, "1.2.3" for an address)
# are not here.
GOOD = peeltap_core.emit_proxy_v2(*V4, tlvs=TLVS, crc32c=True)


@pytest.mark.parametrize(
    ("codec", "header", "rule"),
    [
        (V1, b"PROXY TCP4 ::1 ::1 1 2\r\n", "an address is not one of the line's family"),
        (V1, b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", "the protocol is not TCP4, TCP6 or UNKNOWN"),
        (V1, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n", "a port is not followed by CRLF"),
        (V1, b"PROXY UNKNOWN" + b" " * 120 + b"\r\n", "no CRLF within 107 bytes"),
        (V2, GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "the CRC32C does not match"),
        (V2, GOOD[:12] + b"\x31" + GOOD[13:], "the version is not 2"),
        (V2, GOOD[:12] + b"\x22" + GOOD[13:], "the command is not LOCAL or PROXY"),
        (V2, GOOD[:14] + b"\0\x0b" + GOOD[16:], "the length is below the family's address block"),
        (
            V2,
            peeltap_core.emit_proxy_v2(*V4)[:14] + b"\0\x10" + GOOD[16:28] + b"\x01\0\xff\0",
            "a TLV overruns the header",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_haproxy_refuses_what_is_malformed(
    proxy: HAProxy, codec: bytes, header: bytes, rule: str
) -> None:
    with pytest.raises(peeltap_core.MalformedHeaderError, match=rule):
        peeltap_core.parse_header(codec, header)
    with proxy.connect("accept") as client:
        client.sendall(header + GREETING)
        # HAProxy resets the connection if it has not read all of it.
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert proxy.is_silent("accept")
