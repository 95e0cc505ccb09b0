"""Headers that the agent writes are those that the core writes, byte for byte, and reads."""

from __future__ import annotations

import json
from typing import Any

import peeltap_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversion.proxy.addresses import Ends
from diversion.proxy.headers import crc32c, emitter, magic_layout
from tests.reassembly.test_layout import RIGHT

V4: tuple[Ends, Ends] = (("203.0.113.7", 46421), ("192.168.110.2", 80))
V6: tuple[Ends, Ends] = (("2001:db8::7", 46421), ("2001:db8:110::2", 80))
MIXED: tuple[Ends, Ends] = (V4[0], V6[1])

CODECS: dict[str, dict[str, Any]] = {
    "proxy-v1": {"kind": "proxy-v1"},
    "proxy-v2": {"kind": "proxy-v2"},
    "shipped magic": {"kind": "layout", "layout": magic_layout("d1e0c0ffee5eedb5")},
    **{
        name: {"kind": "layout", "layout": layout, "encoding": encoding}
        for name, (layout, encoding) in RIGHT.items()
    },
}


def core(codec: dict[str, Any], peer: Ends, destination: Ends) -> bytes | None:
    """What the core writes; None where it says that it cannot."""
    configured = json.dumps({"name": "tested", **codec}).encode()
    try:
        return peeltap_core.emit_header(configured, *peer, *destination)
    except ValueError:
        return None


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("ends", [V4, V6, MIXED], ids=["4", "6", "mixed"])
def test_the_core_writes_the_same(name: str, ends: tuple[Ends, Ends]) -> None:
    codec = CODECS[name]
    expected = core(codec, *ends)
    if expected is None:
        with pytest.raises(ValueError, match=r"."):
            emitter(codec)(*ends)
    else:
        assert emitter(codec)(*ends) == expected


@given(
    name=st.sampled_from(sorted(CODECS)),
    addresses=st.one_of(
        # Our sockets are of one version: an IPv4 peer never comes as ::ffff:0:0/96.
        *(
            st.tuples(*[st.ip_addresses(v=4).map(str)] * 2),
            st.tuples(*[st.ip_addresses(v=6, network="2000::/3").map(str)] * 2),
        )
    ),
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
def test_any_addresses(name: str, addresses: tuple[str, str], ports: tuple[int, int]) -> None:
    ends = (addresses[0], ports[0]), (addresses[1], ports[1])
    expected = core(CODECS[name], *ends)
    if expected is not None:
        assert emitter(CODECS[name])(*ends) == expected


@pytest.mark.parametrize(
    "codec",
    [
        {"kind": "sslproxy"},
        {},
        {"kind": "layout", "layout": [{"nosuch": 1}]},
        {"kind": "layout", "layout": [{"u8": "peer_port"}, {"ip": "peer"}]},
        {"kind": "layout", "layout": "text"},
        {"kind": "layout", "layout": [{"ip": "stranger"}]},
    ],
)
def test_what_is_no_codec_is_found_before_the_first_connection(codec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no codec|layout"):
        emitter(codec)


def test_the_castagnoli_check_value() -> None:
    # The check value of CRC-32/ISCSI.
    assert crc32c(b"123456789") == 0xE3069283
