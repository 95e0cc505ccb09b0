"""Progress shows on a terminal and is silent everywhere else."""

import os
import pty
import subprocess
import sys

import pytest

from pipeline.progress import Silent, progress
from tests.pipeline.conftest import ARGV, CONFIG, capture


def test_in_a_pipe_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=False) as shown:
        assert isinstance(shown, Silent)
        shown.update(1, 2, 3)
        shown.stage("working")
    assert capsys.readouterr() == ("", "")


def test_quiet_is_silent_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(quiet=True) as shown:
        assert isinstance(shown, Silent)


def on_a_terminal(*arguments: str) -> tuple[int, bytes]:
    """Run the command line with a terminal for standard error; gives what it drew there."""
    leader, follower = pty.openpty()
    program = subprocess.Popen(
        [*ARGV, *arguments],
        stderr=follower,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    drawn = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            # The other end is closed: the program has ended.
            break
        drawn += piece
    os.close(leader)
    return program.wait(60), drawn


def test_on_a_terminal_there_is_a_bar() -> None:
    code, drawn = on_a_terminal("replay", capture("magic"), "-c", str(CONFIG))
    assert code == 0
    assert b"taking headers out" in drawn


def test_quiet_draws_nothing_on_a_terminal() -> None:
    assert on_a_terminal("replay", capture("magic"), "-c", str(CONFIG), "-q") == (0, b"")
