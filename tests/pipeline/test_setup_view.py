"""What a person sees of each action."""

from __future__ import annotations

import io

import pytest

from diversion.setup.frr import Session
from pipeline.setup import Outcome
from pipeline.setup_view import write

STEPS = [["ip link add br1 type bridge"], ["nft add table inet x", "nft add chain inet x y"]]


@pytest.mark.parametrize(
    ("action", "state", "steps", "text"),
    [
        ("plan", "changes", STEPS, "h: 2 steps to take"),
        ("plan", "complete", [], "h: the host is as the file says"),
        ("up", "up", STEPS[:1], "h: is up; 1 step taken"),
        ("up", "up", [], "h: is up; there was nothing to do"),
        ("status", "up", [], "h: the host is as the file says"),
        ("status", "down", [], "h: is not up"),
        ("status", "drift", STEPS, "h: the host differs; 2 steps back to what the file says"),
        ("down", "down", STEPS, "h: is down; 2 steps taken back"),
        ("down", "down", [], "h: is down; there was nothing to take back"),
    ],
)
def test_the_last_line_sums_it_up(
    action: str, state: str, steps: list[list[str]], text: str
) -> None:
    shown = io.StringIO()
    write(action, Outcome("h", state, steps), shown)
    lines = shown.getvalue().splitlines()
    assert lines[-1] == text
    commands = [line for one in steps for line in one] if action in ("plan", "status") else []
    assert lines[:-1] == commands


def test_what_stands_in_the_way_of_status_is_told() -> None:
    shown = io.StringIO()
    write("status", Outcome("h", "drift", left=["t.yaml:3: no interface eth0"]), shown)
    assert shown.getvalue().startswith("t.yaml:3: no interface eth0\n")


def test_sessions_are_told_with_what_helps() -> None:
    shown = io.StringIO()
    sessions = [Session("192.0.2.2", "Established", 61, 2), Session("192.0.2.3", "Active")]
    write("status", Outcome("h", "partial", sessions=sessions), shown)
    assert shown.getvalue() == (
        "BGP with 192.0.2.2: stands for 61 s, 2 routes\n"
        "BGP with 192.0.2.3: Active; see that it is up, has this host as its neighbour, and that "
        "TCP port 179 gets through\n"
        "h: the host is as the file says; not all of its sessions stand\n"
    )
