"""The findings for a person, gravest last where the eye is, or as JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.doctor.finding import Finding, State, worst
from pipeline.summary import printable

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: Final[dict[State, str]] = {"ok": "green", "warn": "yellow", "fail": "bold red"}

VERDICTS: Final[dict[State, str]] = {
    "ok": "All is well.",
    "warn": "It runs, or can; look at what is marked warn.",
    "fail": "Something is wrong: what is marked fail.",
}


def as_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole as one object: the gravest state, how many of each, and every finding."""
    counts = {state: sum(one.state == state for one in findings) for state in _STYLES}
    return {
        "state": worst(findings),
        "counts": counts,
        "findings": [one.as_dict() for one in findings],
    }


def render(findings: Sequence[Finding], console: Console) -> None:
    """Print a table in the order of the examination, each remedy below its finding."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for one in findings:
        # As text, not markup, and without control characters: some of it others chose.
        told = Text(printable(one.text))
        if one.remedy is not None:
            told.append(f"\n-> {printable(one.remedy)}", style="italic")
        table.add_row(Text(one.state, style=_STYLES[one.state]), one.topic, told)
    console.print(table)
    console.print()
    state = worst(findings)
    console.print(VERDICTS[state], style=_STYLES[state])
