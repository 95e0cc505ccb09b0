"""The demo's screen: fits the width it has, and is plain where it must be."""

import io

import pytest
from rich.console import Console

from pipeline.demo.offline import Comparison
from pipeline.demo.offline_view import render
from pipeline.demo.sides import Side
from pipeline.summary import Summary
from suricata.summary import AlertRow

WHEN = "2026-01-01T00:00:00.000000+0000"


def row(attacker: str, decoy: str, sid: int, signature: str, count: int = 1) -> AlertRow:
    return AlertRow(attacker, decoy, 80, sid, signature, count, WHEN, WHEN, True)


def compared() -> Comparison:
    alone, peeltap = Side(packets=20), Side(packets=18)
    alone.understood.update({"HTTP requests": 1})
    peeltap.understood.update({"HTTP requests": 12, "SSH clients": 1})
    alone.flows["172.16.23.1", "172.16.23.2"] = 5
    peeltap.flows["203.0.113.7", "192.168.110.2"] = 4
    peeltap.flows["2001:db8::7", "2001:db8:110::2"] = 1
    alone.alerts = [row("172.16.23.1", "172.16.23.2", 2, "PEELTAP jndi")]
    peeltap.alerts = [
        row("203.0.113.7", "192.168.110.2", 1, "PEELTAP traversal", 3),
        row("2001:db8::7", "2001:db8:110::2", 2, "PEELTAP jndi"),
    ]
    ends = {"src_ip": "203.0.113.7", "src_port": 1, "dest_ip": "192.168.110.2", "dest_port": 80}
    observed = {
        "src_ip": "172.16.23.1",
        "src_port": 2,
        "dest_ip": "172.16.23.2",
        "dest_port": 9080,
    }
    peeltap.example = {**ends, "peeltap": {"observed": observed}}
    stats = {"connections": {"stripped": 5}, "packets": {"in": 20}}
    return Comparison(["a", "b"], "7.0.10", alone, peeltap, Summary([], {}, "restore", stats))


def screen(width: int, encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    render(compared(), Console(file=stream, width=width))
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("width", [60, 77, 78, 80, 96, 120, 200])
def test_it_fits_the_width(width: int) -> None:
    lines = [line for line in screen(width) if "peeltap replay br1.pcap" not in line]
    assert max(map(len, lines)) <= width


def test_wide_screens_show_both_beside_each_other() -> None:
    [titles] = [line for line in screen(110) if "Suricata alone ─" in line]
    assert "Suricata with Peeltap" in titles
    [counts] = [line for line in screen(110) if "HTTP requests" in line]
    left, right = counts.strip("│ ").split("││" if "││" in counts else "│ │")
    assert left.split() == ["HTTP", "requests", "1", "█"]
    assert right.split() == ["HTTP", "requests", "12", "█" * 12]


def test_narrow_screens_show_one_below_the_other() -> None:
    lines = screen(80)
    assert sum("HTTP requests" in line for line in lines) == 2
    assert not any("Suricata alone ─" in line and "with Peeltap" in line for line in lines)


def test_a_small_screen_gives_each_alert_a_line_for_its_signature() -> None:
    lines = screen(60)
    at = lines.index(" traversal")
    assert lines[at : at + 4] == [
        " traversal",
        "   203.0.113.7 -> 192.168.110.2:80  alone: misses it",
        " jndi",
        "   2001:db8::7 -> [2001:db8:110::2]:80  alone: blames proxy",
    ]
    assert " attackers ──> gateway1 ═══ br1 ═══> gateway2 ──> decoys" in lines


def test_who_it_was_and_whom_suricata_blames() -> None:
    text = [" ".join(line.split()) for line in screen(120)]
    assert "203.0.113.7 192.168.110.2:80 traversal 3 misses it" in text
    assert "2001:db8::7 [2001:db8:110::2]:80 jndi 1 blames 172.16.23.1" in text
    assert (
        "Alone: 1 alerts, all against 172.16.23.1, a proxy of your own. "
        "With Peeltap: 4 alerts, against the 2 true attackers."
    ) in text
    assert "on br1 172.16.23.1:2 -> 172.16.23.2:9080" in text
    assert "it was 203.0.113.7:1 -> 192.168.110.2:80" in text


def test_a_plain_terminal_gets_plain_characters() -> None:
    text = "\n".join(screen(110, "ascii"))
    assert text.isascii()
    assert "?" not in text
    assert "gateway1 === br1 ===> gateway2" in text
    assert "############" in text


def test_a_pipe_gets_no_colours() -> None:
    assert not any("\x1b" in line for line in screen(120))
