"""The process of the live Suricata: begun, found again after our own end, and stopped in order.

Suricata lives in a session of its own, so that Ctrl-C in a terminal reaches peeltap and not it, and
it outlives peeltap: killed and started anew, peeltap finds it by its command line, which names its
configuration and carries a digest of all that it was started with. With the same digest it is
adopted and has lost no connection; with another one it is stopped.

A child's end is seen by wait, an adopted one's by its pidfd (pidfd_open(2)).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

MARK: Final = "peeltap.digest="
"""Stands before the digest on the command line, as the value of a --set that Suricata ignores."""

# What tells a program of systemd's socket of ours; Suricata is none of its business.
_KEPT_FROM_IT: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
)

_MAX_COMMAND_LINE: Final = 1 << 16

UMASK: Final = 0o027


class Child:
    """One running Suricata: its process id, and a pidfd that poll can wait on."""

    def __init__(self, pid: int, pidfd: int, process: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._process = process

    @property
    def adopted(self) -> bool:
        """Whether an earlier peeltap began it."""
        return self._process is None

    def ended(self) -> str | None:
        """How it ended, as a clause; None while it runs."""
        if self._process is not None:
            code = self._process.poll()
            return None if code is None else _clause(code)
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return "ended" if poll.poll(0) else None

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        # The pidfd is ready when the process is a zombie; poll reaps it.
        while self.ended() is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing if it has ended or is not ours to signal."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self.pidfd, number)

    def stop(self, seconds: float) -> bool:
        """SIGTERM, and after `seconds` SIGKILL; whether the first was enough."""
        self.signal(signal.SIGTERM)
        in_order = self.wait(seconds)
        if not in_order:
            self.signal(signal.SIGKILL)
            self.wait(5.0)
        return in_order

    def close(self) -> None:
        """Let go of the pidfd; the process is left as it is."""
        os.close(self.pidfd)
        if self._process is not None and self._process.returncode is None:
            # Left alone on purpose, which Popen would warn of.
            self._process.returncode = 0


def spawn(arguments: Sequence[str], directory: Path, stderr: Path) -> Child:
    """Begin a Suricata that lives in `directory`. Raises OSError."""
    environment = {key: value for key, value in os.environ.items() if key not in _KEPT_FROM_IT}
    # A child has the mask of the thread that begins it, and has to hear SIGTERM.
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        with stderr.open("wb") as errors:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=directory,
                env=environment,
                start_new_session=True,
                umask=UMASK,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return Child(process.pid, os.pidfd_open(process.pid), process)


def find(config: Path, proc: Path = Path("/proc")) -> Iterator[tuple[Child, str]]:
    """Each running Suricata with the configuration at `config`, and the digest that it carries.

    Looked for in /proc, because a peeltap that was killed may have had no time to note a process
    id, and a noted one may be somebody else's by now. Anybody may write a command line: only ours,
    root's and the directory's owner's count.
    """
    owners = {0, os.geteuid()}
    with contextlib.suppress(OSError):
        owners.add(config.parent.stat().st_uid)
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        before = _command_line(entry)
        if _digest(before, config) is None or _owner(entry) not in owners:
            continue
        try:
            pidfd = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        # Read again: between the look and the open the number may have changed hands. And where
        # /proc shows another PID namespace than ours, the number is somebody else's altogether.
        digest = _digest(_command_line(entry), config)
        if digest is None or _named(pidfd) != entry.name:
            os.close(pidfd)
            continue
        yield Child(int(entry.name), pidfd, None), digest


def _named(pidfd: int) -> str | None:
    """The process id of a pidfd as /proc counts them (proc_pid_fdinfo(5))."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return line.split()[1]
    return None


def _owner(entry: Path) -> int | None:
    """The real user of a process; the entry's own may be root's for anybody's (proc(5))."""
    try:
        for line in (entry / "status").read_text(errors="replace").splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _command_line(entry: Path) -> list[str]:
    try:
        with (entry / "cmdline").open("rb") as line:
            return line.read(_MAX_COMMAND_LINE).decode(errors="replace").split("\0")
    except OSError:
        return []


def _digest(command_line: Sequence[str], config: Path) -> str | None:
    """The digest on a command line, if it is that of a Suricata with this configuration."""
    if ("-c", str(config)) not in pairwise(command_line):
        return None
    for word in command_line:
        if word.startswith(MARK):
            return word.removeprefix(MARK)
    return None


def _clause(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
    return f"ended with exit code {code}"
