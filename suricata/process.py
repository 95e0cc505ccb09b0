"""Runs the installed Suricata over a capture and says in one sentence what went wrong.

    SuricataError              one sentence, fit to be shown as it is
      SuricataMissing          there is no such program
      SuricataVersion          it is not Suricata, or older than 7
      InputError               capture, distribution's file or rule file cannot be read
      RuleError                Suricata refused a rule: file, line, Suricata's reason
      SuricataFailed           it ended with an error of its own
      SuricataKilled           a signal ended it
      SuricataTimeout          it ran longer than allowed and was stopped

Rules are not checked in a pass of their own: `--init-errors-fatal` makes the run end at the first
look at a bad one, and loading a large rule set twice would double the start. `check` is that pass
for those who want nothing else.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import config, engine_log
from .settings import SuricataSettings

Progress = Callable[[int, int], None]

OLDEST: Final = (7, 0)

_VERSION: Final = re.compile(r"This is Suricata version (\d+)\.(\d+)\S*")

# -2 is libpcap's end of file, met where the first packet should be.
_NO_PACKETS: Final = "failed to get first packet timestamp. pcap_next_ex(): -2"

_MAX_WARNINGS: Final = 20

# Suricata finishes what it has begun on SIGTERM; longer than this it has stuck.
_STOP_SECONDS: Final = 10.0
_CHECK_POLL_SECONDS: Final = 0.1

_CHECKSUMS: Final = {"ignore": ["-k", "none"], "check": ["-k", "all"], "auto": ["-k", "auto"]}


class SuricataError(Exception):
    """Suricata could not do its work; the text is one sentence."""


class SuricataMissing(SuricataError):  # noqa: N818
    """There is no such program."""


class SuricataVersion(SuricataError):  # noqa: N818
    """It is not Suricata, or too old."""


class InputError(SuricataError):
    """A file that Suricata was to read cannot be read."""


class _Empty(Exception):  # noqa: N818
    """The capture holds no packet, which Suricata takes for one that it cannot read."""


class RuleError(SuricataError):
    """Suricata refused a rule file."""

    def __init__(self, first: engine_log.BadRule, others: int) -> None:
        more = f" ({others} more like it)" if others else ""
        super().__init__(f"{first}{more}")
        self.file = first.file
        self.line = first.line
        self.reason = first.reason
        self.rule = first.rule


class SuricataFailed(SuricataError):  # noqa: N818
    """It ended with an error of its own."""


class SuricataKilled(SuricataError):  # noqa: N818
    """A signal ended it."""


class SuricataTimeout(SuricataError):  # noqa: N818
    """It ran longer than allowed."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A Suricata that can be run."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: where the events are, and what Suricata warned of."""

    eve: Path
    log: Path
    version: str
    seconds: float
    warnings: list[str]


def find(binary: str = "suricata") -> Installed:
    """The installed Suricata. Raises SuricataMissing, SuricataVersion."""
    path = shutil.which(binary)
    if path is None:
        raise SuricataMissing(
            f"there is no program {binary!r}: install Suricata 7 or newer (Debian: apt-get install"
            " suricata), or name it under suricata: binary:"
        )
    try:
        done = subprocess.run(
            [path, "-V"], capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SuricataVersion(f"{path} does not tell its version ({error})") from error
    text = (done.stdout + done.stderr).decode(errors="replace")
    found = _VERSION.search(text)
    if found is None:
        raise SuricataVersion(f"{path} is not Suricata: its -V says {text[:80]!r}")
    version = found[0].removeprefix("This is Suricata version ")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise SuricataVersion(
            f"{path} is Suricata {version}; peeltap needs {OLDEST[0]}.{OLDEST[1]} or newer"
        )
    return Installed(path, version)


def run(
    capture: Path,
    settings: SuricataSettings,
    log_dir: Path,
    *,
    progress: Progress | None = None,
    poll_seconds: float = 0.1,
) -> Run:
    """Run Suricata over one capture file; its events are in the returned `eve`.

    `log_dir` is made if absent; files of an earlier run in it are replaced. One thread does all
    the work (`--runmode single`), so that the same capture gives the same events in the same order.
    `progress` is called with bytes of the capture read and in all. Raises SuricataError and its
    kinds; Suricata has ended then, whatever happened.
    """
    installed = find(settings.binary)
    _check_inputs([capture, settings.base], settings.rules)
    arguments = [installed.path, *_prepare(settings, log_dir), "-r", str(capture.absolute())]
    arguments += ["--runmode", "single", *_CHECKSUMS[settings.checksums]]
    total = capture.stat().st_size
    began = time.monotonic()
    try:
        _supervise(
            arguments, capture, total, settings.timeout_seconds, log_dir, progress, poll_seconds
        )
        warnings = _warnings(log_dir)
    except _Empty:
        (log_dir / config.EVE_FILE).touch()
        warnings = [f"{capture} holds no packets"]
    if progress is not None:
        progress(total, total)
    return Run(
        eve=log_dir / config.EVE_FILE,
        log=log_dir / config.ENGINE_LOG,
        version=installed.version,
        seconds=time.monotonic() - began,
        warnings=warnings,
    )


def _supervise(
    arguments: Sequence[str],
    capture: Path,
    total: int,
    timeout_seconds: float | None,
    log_dir: Path,
    progress: Progress | None,
    poll_seconds: float,
) -> None:
    """Start Suricata and stay with it to its end; raises what that deserves."""
    began = time.monotonic()
    started = False
    with _child(arguments, log_dir) as child:
        while True:
            try:
                child.wait(poll_seconds)
                break
            except subprocess.TimeoutExpired:
                pass
            started = started or _has_started(log_dir, capture, child)
            spent = time.monotonic() - began
            if timeout_seconds is not None and spent > timeout_seconds:
                raise SuricataTimeout(
                    f"Suricata was stopped after {spent:.0f} s, the time allowed by suricata:"
                    f" timeout_seconds:; its events so far are in {log_dir / config.EVE_FILE}"
                )
            if progress is not None:
                progress(_position(child.pid, capture), total)
        _judge(child.returncode, log_dir, time.monotonic() - began)


def check(
    settings: SuricataSettings, log_dir: Path, *, wanted: Callable[[], bool] = lambda: True
) -> Installed:
    """Let Suricata read configuration and rules and nothing else. Raises as `run`.

    `wanted` is asked ten times a second; once it says no, the check ends as if time were up.
    """
    installed = find(settings.binary)
    _check_inputs([settings.base], settings.rules)
    began = time.monotonic()
    with _child([installed.path, "-T", *_prepare(settings, log_dir)], log_dir) as child:
        while True:
            try:
                child.wait(_CHECK_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired as error:
                spent = time.monotonic() - began
                late = settings.timeout_seconds is not None and spent > settings.timeout_seconds
                if late or not wanted():
                    # While it loads rules it hears no SIGTERM.
                    child.kill()
                    raise SuricataTimeout(
                        f"Suricata's check of the rules was stopped after {spent:.0f} s"
                    ) from error
        _judge(child.returncode, log_dir, time.monotonic() - began)
    return installed


def _check_inputs(files: Sequence[Path], rules: Sequence[Path]) -> None:
    # Suricata takes a missing rule file for a pattern that matches nothing, and goes on without it.
    for path in (*files, *rules):
        try:
            if path.is_dir():
                raise InputError(f"{path} is a directory, not a file")
            # Not opened: a pipe would lose what is read from it.
            path.stat()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _prepare(settings: SuricataSettings, log_dir: Path) -> list[str]:
    try:
        written = config.write(settings, log_dir)
        for name in (config.EVE_FILE, config.ENGINE_LOG, STDERR):
            (log_dir / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{log_dir} cannot be written to: {error.strerror}") from error
    return ["-c", str(written), "-l", str(log_dir.absolute()), "--init-errors-fatal"]


STDERR: Final = "stderr.log"


@contextmanager
def _child(arguments: Sequence[str], log_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The running program; stopped on the way out if it still runs, whatever the reason."""
    with (log_dir / STDERR).open("wb") as stderr:
        try:
            child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )
        except OSError as error:
            raise SuricataMissing(f"{arguments[0]} cannot be run: {error.strerror}") from error
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def _position(pid: int, capture: Path) -> int:
    """How far the process has read the capture, in bytes; 0 if that cannot be told."""
    try:
        target = capture.resolve()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if link.readlink() == target:
                info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
                return int(info.split(None, 2)[1])
    except (OSError, ValueError, IndexError):
        # The process has just ended, or this is not Linux.
        pass
    return 0


def _has_started(log_dir: Path, capture: Path, child: subprocess.Popen[bytes]) -> bool:
    """Whether packets are being read. Raises SuricataFailed if they never will be.

    A reader that cannot open its capture ends, and Suricata waits a minute for it, deaf to SIGTERM.
    """
    errors = []
    for level, text in _log(log_dir):
        if text.endswith(engine_log.STARTED):
            return True
        if level == "Error":
            errors.append(text)
        if level == "Error" and "reader thread failed to initialize" in text:
            child.kill()
            if _NO_PACKETS in errors[0]:
                raise _Empty
            raise SuricataFailed(f"Suricata cannot read {capture}: {errors[0]}")
    return False


def _judge(code: int, log_dir: Path, seconds: float) -> None:
    """Raise what a run that ended with `code` deserves; nothing if all went well."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
        raise SuricataKilled(
            f"Suricata was killed by {name} after {seconds:.1f} s{hint}; its events so far are in"
            f" {log_dir / config.EVE_FILE}"
        )
    if code == 0:
        return
    errors = [text for level, text in _log(log_dir) if level in engine_log.SERIOUS]
    bad = engine_log.bad_rules(errors)
    if bad:
        raise RuleError(bad[0], len(bad) - 1)
    lines = engine_log.tail(log_dir / STDERR).strip().splitlines()
    # The first error is the cause, what follows are threads that could not start for it.
    cause = errors[0] if errors else (lines[-1] if lines else "it gave no reason")
    raise SuricataFailed(f"Suricata ended with exit code {code}: {cause.strip()}")


def _warnings(log_dir: Path) -> list[str]:
    seen = [text for level, text in _log(log_dir) if level in ("Warning", "Error")]
    return list(dict.fromkeys(seen))[:_MAX_WARNINGS]


def _log(log_dir: Path) -> Iterator[engine_log.Entry]:
    return engine_log.entries(engine_log.tail(log_dir / config.ENGINE_LOG))
