"""Legs of every kind: IPv4 and IPv6, tags, padding, options, extension headers, link types."""

from __future__ import annotations

from tests.support.packets import Leg

LEG4 = Leg()
LEG6 = Leg(client="fd00:23::1", server="fd00:23::2")
PAD_HOP_BY_HOP = (0, b"\x01\x04\0\0\0\0")
PAD_DESTINATION = (60, b"\x01\x0c" + bytes(12))
ROUTER_ALERT = bytes.fromhex("94040000")

LEGS = (
    LEG4,
    LEG6,
    LEG4.with_(padded=True),
    LEG4.with_(vlans=(100,)),
    LEG6.with_(vlans=(100, 7), padded=True),
    LEG4.with_(ip_options=ROUTER_ALERT),
    LEG6.with_(extensions=(PAD_HOP_BY_HOP, PAD_DESTINATION)),
    *(leg.with_(link=link) for link in ("raw", "sll", "sll2", "null") for leg in (LEG4, LEG6)),
)
