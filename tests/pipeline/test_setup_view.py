"""What a person sees of each action."""

from __future__ import annotations

import io

import pytest

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
