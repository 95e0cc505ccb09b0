"""The findings as a table and as JSON."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.doctor.finding import Finding, fail, ok, warn
from pipeline.doctor.report import VERDICTS, as_dict, render

FINDINGS = [ok("clock", "it is synchronised"), warn("rules", "none", "name some")]


def test_json() -> None:
    told = as_dict([*FINDINGS, fail("tap", "gone", "make it")])
    assert told["state"] == "fail"
    assert told["counts"] == {"ok": 1, "warn": 1, "fail": 1}
    assert told["findings"][1] == {
        "topic": "rules",
        "state": "warn",
        "text": "none",
        "remedy": "name some",
    }


def _rendered(findings: list[Finding]) -> str:
    output = io.StringIO()
    render(findings, Console(file=output, width=80))
    return output.getvalue()


def test_table() -> None:
    text = _rendered(FINDINGS)
    assert "ok    clock  it is synchronised" in text
    assert "warn  rules  none" in text
    assert "-> name some" in text
    assert text.rstrip().endswith(VERDICTS["warn"])


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "[bold]markup[/]", "a\nb"])
def test_what_others_chose_is_shown_not_obeyed(hostile: str) -> None:
    text = _rendered([ok("suricata", hostile)])
    assert "\x1b[31m" not in text
    assert len(text.splitlines()) == len(_rendered([ok("suricata", "plain")]).splitlines())
    if "markup" in hostile:
        assert "[bold]markup[/]" in text
