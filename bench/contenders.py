"""Who takes part: one row each, with the command line and how its output is checked."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.legs import GATEWAY1_NET, GATEWAY2_PORT
from bench.measure import MeasureError

Command = Callable[[Path, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that turns one capture into another."""

    name: str
    what: str
    command: Command  # (input, output) -> command line
    strips: bool  # its output lacks the headers, and the segments that said nothing else
    slice: str = "full"  # which capture it is given; the slow ones get a small one
    starts_slowly: bool = False  # its start-up is measured apart, on an empty capture


def peeltap() -> str:
    """The ``peeltap`` of this environment."""
    program = Path(sys.executable).parent / "peeltap"
    if not program.exists():
        raise MeasureError(f"{program} is not there: run make setup")
    return str(program)


def replay(config: Path, mode: str, *more: str) -> Command:
    """``peeltap replay`` in ``mode``, saying nothing unless ``more`` asks for it."""

    def command(source: Path, sink: Path) -> list[str]:
        said = more or ("--quiet",)
        ends = [str(source), "--config", str(config), "--out", str(sink)]
        return [peeltap(), "replay", *ends, "--mode", mode, *said]

    return command


def _installed(name: str, command: Command) -> Command:
    def checked(source: Path, sink: Path) -> list[str]:
        line = command(source, sink)
        if shutil.which(line[0]) is None:
            raise MeasureError(f"{name} is not installed: run make setup")
        return line

    return checked


def _script(module: str) -> Command:
    def command(source: Path, sink: Path) -> list[str]:
        return [sys.executable, "-m", module, str(source), str(sink), str(GATEWAY2_PORT)]

    return command


# A copy through user space: no reflink, no copy_file_range, no search for holes.
def _cp(source: Path, sink: Path) -> list[str]:
    return ["cp", "--reflink=never", "--sparse=never", str(source), str(sink)]


def _editcap(source: Path, sink: Path) -> list[str]:
    return ["editcap", "-F", "pcap", str(source), str(sink)]


# --pnat rewrites every address on the leg and turns --fixcsum on.
def _tcprewrite(source: Path, sink: Path) -> list[str]:
    other = "10.16." + GATEWAY1_NET.split(".", 2)[2]
    return [
        "tcprewrite",
        f"--infile={source}",
        f"--outfile={sink}",
        f"--pnat={GATEWAY1_NET}:{other}",
    ]


CP = Contender("cp", "copies the file: the limit of input and output", _cp, strips=False)


def contenders(config: Path) -> list[Contender]:
    """All of them, in the order in which a round runs them."""
    return [
        CP,
        *(
            Contender(
                mode, f"peeltap replay --mode {mode}", replay(config, mode), True, "full", True
            )
            for mode in ("strip", "restore")
        ),
        Contender(
            "editcap", "reads and writes each packet", _installed("editcap", _editcap), False
        ),
        Contender(
            "tcprewrite",
            "other addresses, checksums anew",
            _installed("tcprewrite", _tcprewrite),
            False,
        ),
        Contender(
            "dpkt",
            "strips, plain script on dpkt",
            _script("bench.peers.plain_dpkt"),
            True,
            "dpkt",
            True,
        ),
        Contender(
            "scapy",
            "strips, plain script on scapy",
            _script("bench.peers.plain_scapy"),
            True,
            "scapy",
            True,
        ),
    ]
