"""What netlink's messages say, and what cannot be had."""

from __future__ import annotations

from typing import Any

import pytest

from diversion.setup.netlink import FEATURES, offload, read_attribute


class Message(dict[str, Any]):
    """A RTM_NEWLINK of paper."""

    def get_attr(self, name: str) -> Any:
        return self.get(name)


def inet6(mode: int) -> Message:
    return Message(AF_INET6=Message(IFLA_INET6_ADDR_GEN_MODE=mode))


def slave(kind: str, data: object) -> Message:
    return Message(
        IFLA_LINKINFO=Message(IFLA_INFO_SLAVE_KIND=kind, IFLA_INFO_SLAVE_DATA=data),
    )


def port(**flags: int) -> Message:
    return slave("bridge", Message(flags))


@pytest.mark.parametrize(
    ("message", "attribute", "value"),
    [
        (Message(flags=0x1), "up", True),
        (Message(flags=0x0), "up", False),
        (Message(flags=0x80), "arp", False),
        (Message(flags=0x0), "arp", True),
        (Message(IFLA_MTU=1400), "mtu", 1400),
        (Message(IFLA_MASTER=7), "master", "name7"),
        (Message(), "master", ""),
        (Message(IFLA_AF_SPEC=inet6(1)), "addrgenmode", "none"),
        (Message(), "addrgenmode", None),
        (port(IFLA_BRPORT_LEARNING=0), "learning", False),
        (port(IFLA_BRPORT_NEIGH_SUPPRESS=1), "neigh_suppress", True),
        (Message(), "learning", None),
        (Message(IFLA_LINKINFO=Message()), "learning", None),
        # pyroute2 has no words for the data of a VRF's.
        (slave("vrf", "08:00:01:00:07:00:00:00"), "learning", None),
    ],
)
def test_an_attribute(message: Message, attribute: str, value: object) -> None:
    assert read_attribute(message, attribute, lambda index: f"name{index}") == value


def test_an_interface_that_is_not_there_has_no_offloads() -> None:
    for feature in FEATURES:
        assert offload("nosuchdevice", feature) is None


def test_loopback_has_gro() -> None:
    assert offload("lo", "gro") in (True, False)
