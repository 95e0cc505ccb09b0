"""FRR's daemons of one topology: found, started and ended by what the kernel says of them.

    setup ──> zebra, bgpd, watchfrr ──(one hangs or dies)──> python -m diversion.setup.frr_daemons

Each daemon runs with the path space `peeltap-NAME`, so that its sockets and pid files are in a
directory of the topology's own and /etc/frr is not read. Which processes are the topology's is
asked of /proc and not of the pid files: those can be written by daemons that talk to the network.
A process is held by a descriptor of it (pidfd_open(2)) while it is looked at and signalled, so that
its number cannot have become another's.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diversion.setup import SetupError

PROGRAMS: Final = Path("/usr/lib/frr")
RUN: Final = Path("/run/frr")
WATCHED: Final = ("zebra", "bgpd")
ALL: Final = ("watchfrr", "bgpd", "zebra")
JOB: Final = "job"

# In the order in which they are ended: first those that would start the others again.
_ENDED: Final = ("watchfrr", JOB, "bgpd", "zebra")

_MODULE: Final = "diversion.setup.frr_daemons"
_OWN: Final = Path("/proc/thread-self/ns/net")
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 10.0
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Process:
    """A process of FRR: which program, in which path space; `here`: in this network namespace."""

    pid: int
    program: str
    space: str
    here: bool = True


def space(name: str) -> str:
    """The path space of the topology `name`."""
    return f"peeltap-{name}"


def directory(name: str) -> Path:
    """Where its sockets, pid files and configuration are."""
    return RUN / space(name)


def processes() -> Iterator[Process]:
    """All of FRR's processes on this host, with what watchfrr runs to start one again (`job`)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _read(int(entry.name))) is not None:
            yield found


def of(name: str) -> list[Process]:
    """The processes of the topology `name` in this network namespace."""
    return [one for one in processes() if one.space == space(name) and one.here]


def _read(pid: int) -> Process | None:
    """What a process is; None if it is gone, or not FRR's."""
    entry = Path("/proc", str(pid))
    try:
        words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        # A package that was upgraded leaves its old programs running as deleted ones.
        program = Path(str((entry / "exe").readlink()).removesuffix(" (deleted)"))
        here = (entry / "ns/net").stat().st_ino == _OWN.stat().st_ino
    except OSError:
        return None
    if program.parent == PROGRAMS and program.name in ALL:
        return Process(pid, program.name, _behind(words, "-N", 1), here)
    if _MODULE in words:
        return Process(pid, JOB, space(_behind(words, _MODULE, 2)), here)
    return None


def _behind(words: list[str], word: str, steps: int) -> str:
    """The word that stands so many behind the first `word`; empty if there is none."""
    at = words.index(word) + steps if word in words else len(words)
    return words[at] if at < len(words) else ""


def launch(name: str, program: str) -> None:
    """Start zebra or bgpd; returns when it has read its configuration, SetupError if it did not."""
    here = directory(name)
    argv = [str(PROGRAMS / program), "-d", "-N", space(name), "-f", str(here / f"{program}.conf")]
    # Without a port for telnet, and as the user that the package made.
    _run([*argv, "-P", "0", "-u", "frr", "-g", "frr"], program)


def watch(name: str) -> int:
    """Start watchfrr on daemons that run; the id of the process that did."""
    own = [sys.executable, "-I", "-m", _MODULE]
    words = {what: shlex.join([*own, what, name]) + " %s" for what in ("start", "stop")}
    argv = [str(PROGRAMS / "watchfrr"), "-d", "-N", space(name), "-l", "4"]
    argv += ["--min-restart-interval", "5", "--max-restart-interval", "60"]
    argv += ["-s", words["start"], "-r", words["start"], "-k", words["stop"], *WATCHED]
    return _run(argv, "watchfrr")


def _run(argv: list[str], program: str) -> int:
    """Run a program that goes on in the background by itself."""
    started = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    try:
        _, told = started.communicate(timeout=_START_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
        raise SetupError(f"{program} was not ready in {_START_SECONDS:g} s") from None
    if started.returncode != 0:
        lines = told.decode(errors="replace").strip().splitlines()
        raise SetupError(f"{program}: {lines[-1] if lines else 'it failed without a word'}")
    return started.pid


def end(name: str, programs: tuple[str, ...] = _ENDED) -> None:
    """End the topology's processes, in this order; SetupError if one does not."""
    # Twice: what a job had just started when it was ended may not have been there the first time.
    for program in programs * 2:
        for one in of(name):
            if one.program == program:
                _end(one)


def _end(process: Process) -> None:
    with contextlib.ExitStack() as opened:
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        opened.callback(os.close, handle)
        if _read(process.pid) != process:
            return
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        for one in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, one)
            if gone.poll(_END_SECONDS * 1000):
                return
    raise SetupError(f"the process {process.pid} ({process.program}) cannot be ended")


def main(words: list[str]) -> int:
    """Do what watchfrr asks for: start or stop NAME PROGRAM; `all` are all, zebra first."""
    what, name, program = words
    programs = WATCHED if program == "all" else (program,)
    if what not in ("start", "stop") or not set(programs) <= set(WATCHED):
        return 2
    # One that hangs is there, and in the way of the next.
    end(name, tuple(reversed(programs)))
    try:
        for one in programs if what == "start" else ():
            launch(name, one)
    except SetupError as error:
        sys.stderr.write(f"peeltap: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
