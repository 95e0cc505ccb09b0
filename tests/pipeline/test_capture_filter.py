"""`--filter`: libpcap's expressions, for every link type that can be read."""

import ctypes
import json
from pathlib import Path

import dpkt
import pytest

from pipeline import capture_filter
from pipeline.errors import RunError, UsageError
from tests.pipeline.conftest import CONFIG, Run, capture, packets

MAGIC = capture("magic")


def test_an_expression_is_compiled_for_every_link_type() -> None:
    programs = capture_filter.compile_filter("tcp port 80")
    assert set(programs) == set(capture_filter.LINK_TYPES)
    for program in programs.values():
        # Every path ends in `ret`.
        assert program[-1][0] & 0x07 == 0x06
    # Offsets differ: the IP header begins elsewhere.
    assert programs[1] != programs[101] != programs[113]


def test_link_types_for_which_it_means_nothing_are_left_out() -> None:
    programs = capture_filter.compile_filter("ether host 02:00:00:00:00:01")
    assert 1 in programs
    assert 101 not in programs


@pytest.mark.parametrize("expression", ["tcp prot 80", "port", "((", "host 300.1.1.1.1"])
def test_what_libpcap_refuses_is_wrong_use(expression: str) -> None:
    with pytest.raises(UsageError, match=r"^--filter '"):
        capture_filter.compile_filter(expression)


def test_without_libpcap_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(RunError, match=r"on Debian: libpcap0\.8"):
        capture_filter.compile_filter("tcp")


def test_a_filter_leaves_packets_out(peeltap: Run, tmp_path: Path) -> None:
    out = tmp_path / "clean.pcap"
    said = peeltap("replay", MAGIC, "-c", CONFIG, "-o", out, "--filter", "tcp port 9022", "--json")
    assert json.loads(said.out)["connections"]["stripped"] == 2
    for _, frame in packets(out):
        segment = dpkt.ethernet.Ethernet(frame).data.data
        assert 9022 in (segment.sport, segment.dport)


def test_a_filter_fits_each_link_type(peeltap: Run) -> None:
    for name in ("http-proxy-v2", "http-proxy-v2-raw", "http-proxy-v2-sll"):
        said = peeltap("replay", capture(name), "-c", CONFIG, "--filter", "tcp port 9080", "--json")
        assert json.loads(said.out)["connections"]["stripped"] == 4, name
