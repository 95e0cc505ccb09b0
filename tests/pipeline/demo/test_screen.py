"""The live demo's screen: fits the width it has, and says the same truth at every size."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from pipeline.demo import screen
from pipeline.demo.attacks import STEPS
from pipeline.demo.counters import Alert, Counters, Voice
from pipeline.demo.verdict import Row, Verdict

LEG = "172.16.23.1"
DECOY = ("192.168.110.2", 80)


def counters() -> Counters:
    alone, corrected = Voice(Path("alone")), Voice(Path("corrected"))
    alone.alerts, corrected.alerts = 1, 9
    alone.named.update({LEG: 1})
    corrected.named.update({"203.0.113.7": 8, "2001:db8:bad::7": 1})
    corrected.latest.append(Alert("203.0.113.7", "192.168.110.2", 80, "PEELTAP jndi\x1b[2J"))
    counted = Counters(cast(Any, None), ("br1", "vtap0"), alone, corrected)
    counted.packets = {"br1": 1234, "vtap0": 1200}
    counted.stripped = 15
    return counted


def right() -> Verdict:
    return Verdict(
        rows=[
            Row(
                "ordinary visit",
                False,
                "192.0.2.44",
                ("192.168.110.2", 80),
                None,
                LEG,
                "192.0.2.44",
            ),
            Row("jndi", True, "203.0.113.7", ("192.168.110.2", 80), LEG, LEG, "203.0.113.7"),
            Row("logins", True, "2001:db8:bad::7", ("::2", 80), None, LEG, "2001:db8:bad::7"),
        ],
        alerts_alone=1,
        alerts=9,
        blamed=[LEG],
    )


def wrong() -> Verdict:
    verdict = right()
    verdict.rows[1].named = LEG
    verdict.rows[2].named = None
    verdict.wronged = [LEG]
    return verdict


def shown(verdict: Verdict, width: int, encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    screen.outcome(verdict, counters(), "7.0.10", Console(file=stream, width=width))
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("width", [60, 71, 72, 80, 91, 92, 120])
@pytest.mark.parametrize("verdict", [right(), wrong()], ids=["right", "wrong"])
def test_it_fits_the_width(verdict: Verdict, width: int) -> None:
    assert max(map(len, shown(verdict, width))) <= width


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_says_who_it_was_in_two_sentences(width: int) -> None:
    text = " ".join(" ".join(shown(right(), width)).split())
    assert f"On br1 Suricata raised 1 alert and blamed {LEG}, a proxy of your own." in text
    assert "With Peeltap it raised 9 alerts and named 203.0.113.7, 2001:db8:bad::7." in text
    assert "not the truth" not in text


def test_a_row_for_each_thing_that_happened() -> None:
    lines = [" ".join(line.split()) for line in shown(right(), 100)]
    assert f"ordinary visit misses it sees {LEG} 192.0.2.44 ✓" in lines
    assert f"jndi blames {LEG} blames {LEG} 203.0.113.7 ✓" in lines
    assert f"logins misses it blames {LEG} 2001:db8:bad::7 ✓" in lines
    assert "headers read as payload 15 taken out" in lines


def test_a_failure_is_not_painted_over() -> None:
    text = " ".join(" ".join(shown(wrong(), 100)).split())
    assert f"{LEG} ✗ it was 203.0.113.7" in text
    assert "nobody, not 2001:db8:bad::7" in text
    assert "This is not the truth; not named rightly: jndi, logins" in text
    assert f"accused without reason: {LEG}" in text


def test_a_plain_terminal_gets_plain_characters() -> None:
    for width in (60, 120):
        text = "\n".join(shown(right(), width, "ascii"))
        assert text.isascii()
        assert "?" not in text


def test_a_pipe_gets_no_colours_and_no_moving_picture() -> None:
    stream = io.StringIO()
    console = Console(file=stream)
    moving = screen.Screen(console)
    with moving.shown(), moving.counting(counters()):
        moving.stage("making machines")
        moving.playing(STEPS[0])
    assert stream.getvalue() == ""
    assert not any("\x1b" in line for line in shown(right(), 100))


def test_the_picture_moves_on_a_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    looked = threading.Event()
    watched = SimpleNamespace(**vars(counters()), read=looked.set)
    moving = screen.Screen(console)
    with moving.shown():
        moving.stage("making machines")
        with moving.counting(cast(Counters, watched)):
            moving.playing(STEPS[1])
            assert looked.wait(60)
        moving.stage("ending")
    text = stream.getvalue()
    for words in ("making machines ...", STEPS[1].what, "1,234", "15 taken out", "ending ..."):
        assert words in text
    # What an attacker chose does not reach the terminal as a command.
    assert "jndi\\x1b[2J" in text


@pytest.mark.parametrize("step", STEPS, ids=[f"{step.who}-{step.port}" for step in STEPS])
def test_the_way_of_every_step_is_in_the_picture(step: Any) -> None:
    drawn = screen.picture(Console(width=100), False, step)
    marked = {drawn.plain[span.start : span.end] for span in drawn.spans if span.style == "reverse"}
    assert step.source[0] in marked
    assert marked & {"agent", "virtual IPs"}
    assert marked & {"vm1:", "vm2:"}
