"""Netlink messages as the kernel wants them."""

from __future__ import annotations

import struct

import pytest

from diversion.snat import netlink


def test_attributes_are_padded_and_their_lengths_are_not() -> None:
    assert (
        netlink.attribute(3, b"abcde").hex() == struct.pack("=HH", 9, 3).hex() + "6162636465000000"
    )
    assert netlink.attribute(3, b"abcd").hex() == struct.pack("=HH", 8, 3).hex() + "61626364"
    inner = netlink.attribute(1, b"")
    assert netlink.nested(2, inner) == struct.pack("=HH", 8, 0x8002) + inner


def test_a_message() -> None:
    made = netlink.message(0x0A0C, netlink.NLM_F_ACK, 7, 1, 10, b"body")
    assert made == struct.pack("=IHHII", 24, 0x0A0C, 5, 7, 0) + b"\x01\x00\x00\x0a" + b"body"


def test_errors_are_of_python_s_own_kinds() -> None:
    assert isinstance(netlink.error(2), FileNotFoundError)
    assert isinstance(netlink.error(1), PermissionError)


@pytest.mark.netns
def test_what_the_kernel_does_not_know_is_answered_with_an_error() -> None:
    netfilter = netlink.Netfilter()
    sequences = [netfilter.next() for _ in range(3)]
    messages = [netlink.message(0x7F00, netlink.NLM_F_ACK, one, 0, 0, b"") for one in sequences]
    assert set(netfilter.ask(b"".join(messages), sequences[-1])) <= set(sequences)
    netfilter.close()
