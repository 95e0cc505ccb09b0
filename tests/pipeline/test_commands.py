"""What each command says of its end: the exit code, and the stream that fits."""

import io
import json

import pytest

from pipeline import commands, replay
from pipeline.errors import RunError
from pipeline.summary import Summary
from tests.pipeline.conftest import CONFIG, Run, capture

HTTP = capture("http-proxy-v2")
STATS = {"packets": {"in": 1, "emitted": 1}}


def interrupted(summary: Summary) -> Summary:
    summary.interrupted = True
    return summary


@pytest.mark.parametrize(
    ("summary", "code", "said"),
    [
        (Summary([], {}, "strip", STATS), 0, ""),
        (
            Summary([], {}, "strip", STATS, warnings=["odd", "odder"]),
            0,
            "peeltap: warning: odd\npeeltap: warning: odder\n",
        ),
        (Summary([], {}, "strip", {**STATS, "capture": {"truncated": True}}), 1, ""),
        (Summary([], {}, "strip", STATS, failure="no room"), 1, "peeltap: no room\n"),
        (interrupted(Summary([], {}, "strip", STATS)), 130, "peeltap: interrupted\n"),
    ],
    ids=["done", "warnings", "cut", "failed", "interrupted"],
)
def test_how_a_replay_ends(
    peeltap: Run, monkeypatch: pytest.MonkeyPatch, summary: Summary, code: int, said: str
) -> None:
    monkeypatch.setattr(replay, "replay", lambda *_: summary)
    ended = peeltap("replay", HTTP, "-c", CONFIG)
    assert (ended.code, ended.err) == (code, said)
    assert "Packets" in ended.out


@pytest.mark.parametrize("output", ["-o", "--flows"])
def test_the_summary_avoids_the_data(peeltap: Run, output: str) -> None:
    ended = peeltap("replay", HTTP, "-c", CONFIG, output, "/dev/stdout", "--json", "-q")
    assert json.loads(ended.out)["outputs"] == {
        {"-o": "capture", "--flows": "flows"}[output]: "/dev/stdout"
    }


def test_an_error_that_is_ours_is_raised_to_the_command_line(
    peeltap: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Summary:
        raise RunError("cannot begin")

    monkeypatch.setattr(replay, "replay", fail)
    ended = peeltap("replay", HTTP, "-c", CONFIG)
    assert (ended.code, ended.out, ended.err) == (1, "", "peeltap: cannot begin\n")


def test_print_json() -> None:
    stream = io.StringIO()
    commands.print_json({"a": [1], "b": None}, stream)
    assert stream.getvalue() == '{\n  "a": [\n    1\n  ],\n  "b": null\n}\n'
