"""The summary: a table for people, an object for machines, nothing for the terminal to obey."""

import io

from rich.console import Console

from pipeline.summary import ALERT_ROWS, Events, Summary, endpoint, printable, render
from suricata.summary import AlertRow

STATS = {
    "packets": {"in": 1200, "emitted": 1190, "merged": 8, "dropped": 1, "held": 1},
    "merged": {"header": 8, "fragment": 0},
    "dropped": {"midstream": 1, "other": 0},
    "connections": {"stripped": 10, "plain": 2, "untrusted": 0},
    "codecs": {"proxy-v2": 10, "magic": 0},
    "bytes_removed": 2800,
    "events": {"forged_header": 1, "hold_timeout": 0},
    "capture": {"truncated": False, "skipped": {"statistics": 3}},
}


def row(attacker: str, *, count: int = 1, true: bool = True, signature: str = "probe") -> AlertRow:
    when = "2026-01-01T00:00:00.000000+0000"
    return AlertRow(attacker, "192.168.110.2", 80, 7, signature, count, when, when, true)


def shown(summary: Summary) -> str:
    stream = io.StringIO()
    render(summary, Console(file=stream, width=100))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def test_the_whole_table() -> None:
    events = Events(
        version="7.0.10",
        types={"http": 7, "alert": 3},
        outcomes={"exact": 9, "none": 1, "late": 0},
        rejected=2,
        alerts=[row("203.0.113.7", count=2), row("172.16.23.1", true=False)],
    )
    summary = Summary(["in.pcap"], {"capture": "clean.pcap"}, "strip", STATS, events)
    assert (
        shown(summary)
        == """\
Connections: 12
  10  stripped  header taken out
   2  plain     no header: internal, passed as it is

Headers taken out: 2,800 bytes
  10  proxy-v2

Packets
  1,200  read
  1,190  emitted
      8  merged    header 8
      1  dropped   midstream 1
      1  held      not yet decided when the run ended
      3  left out  statistics

Oddities
  1  forged_header

Suricata 7.0.10: 10 events
  7  http
  3  alert

Correction
  9  led to their connection by its start
  1  of no known connection, addresses as on the wire
  2  lines that are no events, left out

Alerts: 3
  count  attacker                   attacked          signature
      2  203.0.113.7                192.168.110.2:80  probe [7]
      1  172.16.23.1 (on the wire)  192.168.110.2:80  probe [7]

Written
  capture  clean.pcap
"""
    )


def test_only_so_many_rows_of_alerts() -> None:
    rows = [row(f"203.0.113.{n}") for n in range(ALERT_ROWS + 5)]
    summary = Summary([], {}, "strip", {}, Events("7", {"alert": 30}, alerts=rows, more_alerts=5))
    text = shown(summary)
    assert f"203.0.113.{ALERT_ROWS - 1} " in text
    assert f"203.0.113.{ALERT_ROWS} " not in text
    assert "10                                  more; --json has the rows" in text


def test_an_attackers_bytes_are_text() -> None:
    """Neither rich's markup nor a terminal's escape sequences."""
    rows = [row("[red]203.0.113.7[/red]", signature="\x1b[2J\x07bell\nline")]
    text = shown(Summary([], {}, "strip", {}, Events("7", {"alert": 1}, alerts=rows)))
    assert "[red]203.0.113.7[/red]" in text
    assert r"\x1b[2J\x07bell\nline [7]" in text
    assert "\x1b" not in text


def test_printable() -> None:
    assert printable("für [x]") == "für [x]"
    assert printable("a\tb\x9bc\u202e") == r"a\tb\x9bc\u202e"


def test_endpoint() -> None:
    assert endpoint("192.0.2.1", 80) == "192.0.2.1:80"
    assert endpoint("2001:db8::1", 80) == "[2001:db8::1]:80"
    assert endpoint("2001:db8::1", None) == "2001:db8::1"


def test_a_run_that_read_nothing_has_nothing_to_show_but_its_parts() -> None:
    summary = Summary([], {"capture, cut short": "clean.part.pcap"}, "strip", failure="no")
    assert shown(summary) == "Written\n  capture, cut short  clean.part.pcap\n"
    assert Summary([], {}, "strip").truncated is False


def test_a_configuration_that_fits_nothing_is_told() -> None:
    text = shown(Summary([], {}, "strip", {"packets": {"in": 3, "emitted": 3}}))
    assert text.startswith("Connections: 0\n  none is on a leg of the configuration; ")
