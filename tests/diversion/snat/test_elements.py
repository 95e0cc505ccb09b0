"""Keys and values as an nftables map holds them; the maps themselves are in test_nft.py."""

from __future__ import annotations

import pytest

from diversion.snat.elements import Elements, key, value


def test_each_field_is_padded_to_four_bytes() -> None:
    assert value(("192.0.2.1", 80)).hex() == "c0000201" + "00500000"
    assert value(("2001:db8::1", 443)).hex() == "20010db8" + "0" * 22 + "01" + "01bb0000"
    assert key(("192.0.2.1", 1), ("192.0.2.2", 2)).hex() == "c000020100010000c000020200020000"


@pytest.mark.netns
def test_a_table_that_is_not_there_is_an_error_with_its_number() -> None:
    elements = Elements("peeltap_none")
    with pytest.raises(FileNotFoundError):
        elements.add("peers4", [(b"x" * 16, b"y" * 8)])
    elements.remove("peers4", [b"x" * 16, b"y" * 16])
    elements.close()
