"""How these tests run the command line: in this process, or as a child where streams matter."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpkt
import pytest
import yaml

from pipeline import cli

FIXTURES = Path(__file__).parents[2] / "fixtures"
CONFIG = FIXTURES / "peeltap.yaml"
RULES = FIXTURES / "rules" / "peeltap.rules"
ARGV = [sys.executable, "-c", "from pipeline.cli import main; main()"]


def capture(name: str) -> str:
    """The path of a recorded capture."""
    return str(FIXTURES / "captures" / f"{name}.pcap")


def truth(name: str) -> dict[str, Any]:
    """What is known of a capture without Peeltap."""
    return yaml.safe_load((FIXTURES / "captures" / f"{name}.yaml").read_text())


def packets(path: Path | str) -> list[tuple[float, bytes]]:
    with Path(path).open("rb") as stream:
        return list(dpkt.pcap.Reader(stream))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def peeltap(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line in this process, on a page of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Said:
        # `peeltap run` has signals wait and leaves it at that: its process ends anyway.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main([str(one) for one in arguments])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    return run


def child(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command line as a program of its own, with bytes for its standard streams."""
    command = [*ARGV, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=180)
