"""Capture filters as libpcap compiles them; tests/core/test_captures.py has the core obey them."""

import ctypes
from collections.abc import Iterator

import pytest

from reassembly import capture_filter
from reassembly.capture_filter import (
    LINK_TYPES,
    FilterError,
    LibpcapAbsentError,
    compile_filter,
    compile_filters,
)

RET, LDH = 0x06, 0x28


def test_a_program_is_what_libpcap_prints() -> None:
    # tcpdump -d ip: ldh [12]; jeq #0x800 jt 2 jf 3; ret #262144; ret #0
    assert compile_filter("ip") == [
        (LDH, 0, 0, 12),
        (0x15, 0, 1, 0x0800),
        (RET, 0, 0, 262144),
        (RET, 0, 0, 0),
    ]


def test_the_snap_length_is_what_is_accepted() -> None:
    assert compile_filter("", 101, 99) == [(RET, 0, 0, 99)]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("tcp prt 80", "syntax error"),
        ("tcp port 99999999", "illegal port number"),
        ("host 1.2.3.4 and (", "syntax error"),
        ("ip\0", "NUL"),
    ],
)
def test_what_is_wrong_is_said_in_libpcap_s_words(expression: str, reason: str) -> None:
    for compile_ in (compile_filter, compile_filters):
        with pytest.raises(FilterError, match=reason):
            compile_(expression)


def test_an_expression_is_compiled_for_every_link_type_that_it_fits() -> None:
    assert set(compile_filters("tcp port 80")) == set(LINK_TYPES)
    assert set(compile_filters("ether host 1:2:3:4:5:6")) == {1}


def test_every_path_of_a_program_ends_in_a_verdict() -> None:
    for program in compile_filters("tcp port 80").values():
        assert program[-1][0] & 0x07 == RET


def test_raw_ip_begins_with_the_ip_header() -> None:
    assert compile_filter("ip", 101)[0] == (0x30, 0, 0, 0)
    assert compile_filter("ip", 101) == compile_filter("ip", 12)


@pytest.fixture
def no_libpcap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The dynamic loader finds no library."""

    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    capture_filter._library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", absent)
    yield
    capture_filter._library.cache_clear()


@pytest.mark.usefixtures("no_libpcap")
def test_without_libpcap_one_sentence_says_what_to_install() -> None:
    for compile_ in (compile_filter, compile_filters):
        with pytest.raises(LibpcapAbsentError, match=r"not installed; on Debian: libpcap0\.8"):
            compile_("tcp")
