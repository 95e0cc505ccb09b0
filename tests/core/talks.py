"""The one conversation that the engine's table is told with.

The client sends a proxy-v2 header of 28 bytes and 18 bytes of a request, the server 19 bytes of an
answer; on the leg that is stream offset 46 and 19, behind the engine 18 and 19.
"""

from __future__ import annotations

from typing import Any

from peeltap_core import Engine

from tests.support import headers
from tests.support.driver import Driver, configure
from tests.support.transcript import Talk

HEADER = headers.proxy_v2()
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\n\r\n"
TRUTH = {
    "src_ip": "203.0.113.7",
    "src_port": 46421,
    "dest_ip": "192.168.110.2",
    "dest_port": 80,
}

OPEN = """
    c>s [S] <mss 1460,sackok,wscale 7>           -> same
    s>c [S.] ack 0 <mss 1460,sackok,wscale 7>    -> same
    c>s [.] 0 ack 0                              -> same
"""
STARTED = (
    OPEN
    + """
    c>s [P.] 0:46 ack 0                          -> c>s [P.] 0:18 ack 0
    s>c [.] 0 ack 46                             -> s>c [.] 0 ack 18
"""
)


def drive(*gateways: dict[str, Any], link: str = "ethernet", **settings: Any) -> Driver:
    return Driver(Engine(configure(*gateways, **settings)), link)


def talk(driver: Driver | None = None, **changes: Any) -> Talk:
    """The conversation, on a fresh engine unless one is given."""
    parts: dict[str, Any] = {"header": HEADER, "client": REQUEST, "server": ANSWER}
    return Talk(driver or drive(), **(parts | changes))


def unstripped(driver: Driver | None = None, **changes: Any) -> Talk:
    """The conversation where the header is expected to stay in."""
    header, client = changes.get("header", HEADER), changes.get("client", REQUEST)
    return talk(driver, stripped=header + client, **changes)


def verdict(driver: Driver) -> str:
    """The verdict of the only connection."""
    (record,) = driver.take_records()
    return str(record["verdict"])


def counted(driver: Driver, name: str) -> int:
    """How often the named oddity was counted."""
    return int(driver.stats["events"].get(name, 0))
