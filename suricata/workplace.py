"""The directory in which the live Suricata works: its configuration, its sockets, its files.

lock                     held by the one peeltap that uses the directory
suricata.yaml            generated; its path is how a Suricata of an earlier start is found
command.sock, suricata.pid
engine.json, stderr.log  Suricata's own log, and what it said before it had one; NAME.1: last time's
eve.json, eve.json.1 ..  events, or eve.sock, where they are expected
rules/, rules.json       the last accepted rule files (`rules`)
check/                   where rules are tried (`process.check`)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from . import child, command, eve_file, live_config, process
from .config import ENGINE_LOG, EVE_FILE
from .settings import SuricataSettings

_LOG_MAX_BYTES: Final = 16 << 20

# Suricata writes an event at once; few are longer.
_ROOM_BYTES: Final = 1 << 16


class Workplace:
    """The files of one supervised Suricata on `interface`."""

    def __init__(self, settings: SuricataSettings, interface: str, directory: Path) -> None:
        self._settings = settings
        self._interface = interface
        self.directory = directory.absolute()
        self._lock: int | None = None

    @property
    def config(self) -> Path:
        """The generated suricata.yaml."""
        return self.directory / live_config.CONFIG_FILE

    @property
    def command_socket(self) -> Path:
        """Where Suricata takes commands."""
        return self.directory / live_config.COMMAND_SOCKET

    @property
    def engine_log(self) -> Path:
        """What Suricata says of itself."""
        return self.directory / ENGINE_LOG

    @property
    def stderr(self) -> Path:
        """What Suricata says before it has a log."""
        return self.directory / process.STDERR

    @property
    def eve(self) -> Path:
        """Where its events go: a file, or the socket on which they are expected."""
        name = EVE_FILE if self._settings.eve_output == "file" else live_config.EVE_SOCKET
        return self.directory / name

    def take(self) -> None:
        """Make the directory, and be alone in it. Raises BlockingIOError, OSError, LookupError."""
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(self.directory / "lock", flags, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._give(self.directory)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def release(self) -> None:
        """Let another peeltap use the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def digest(self, installed: process.Installed) -> str:
        """Of all that decides what a running Suricata does, but for its rules. Raises OSError."""
        text = live_config.emit(self._settings, self._interface, self.directory)
        parts = [text.encode(), self._settings.base.read_bytes(), installed.version.encode()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]

    def write_config(self, rules: list[Path] | None) -> None:
        """Write the suricata.yaml, with the operator's rule files or others. Raises OSError."""
        draft = self.config.with_suffix(".new")
        draft.write_text(
            live_config.emit(self._settings, self._interface, self.directory, rules),
            encoding="utf-8",
        )
        draft.chmod(0o640)
        self._give(draft)
        draft.rename(self.config)

    def prepare(
        self, installed: process.Installed, digest: str, rules: list[Path] | None
    ) -> list[str]:
        """Write the configuration, put an earlier run's files out of the way; the command line.

        Raises OSError, LookupError (no such user), InputError.
        """
        if len(os.fsencode(self.command_socket)) > command.MAX_SOCKET_PATH:
            raise process.InputError(
                f"{self.command_socket} is too long for a socket's name"
                f" ({command.MAX_SOCKET_PATH} bytes): give state: directory: a shorter one"
            )
        self.write_config(rules)
        self.clear()
        for path in (self.engine_log, self.stderr):
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_name(f"{path.name}.1"))
        for path in eve_file.files(self.directory):
            eve_file.mend_end(path)
        return [
            installed.path,
            "-c",
            str(self.config),
            "-l",
            str(self.directory),
            f"--af-packet={self._interface}",
            "--pidfile",
            str(self.directory / live_config.PID_FILE),
            "--set",
            f"{child.MARK}{digest}",
        ]

    def clear(self) -> None:
        """Remove what a Suricata that is gone leaves lying about, and would stumble over."""
        for name in (live_config.COMMAND_SOCKET, live_config.PID_FILE):
            with contextlib.suppress(OSError):
                (self.directory / name).unlink(missing_ok=True)

    def tend(self) -> list[Path]:
        """Keep files from growing without end; the events' files that were renamed. Raises OSError.

        Suricata writes into renamed files until it is told to open its files anew.
        """
        with contextlib.suppress(OSError):
            if self.engine_log.stat().st_size > _LOG_MAX_BYTES:
                # Suricata appends, so that this is safe; what it said has been read.
                os.truncate(self.engine_log, 0)
        limit = self._settings.eve_max_mb << 20
        if not limit or self._settings.eve_output != "file":
            return []
        long = [path for path in eve_file.files(self.directory) if path.stat().st_size > limit]
        for path in long:
            eve_file.turn_over(path, self._settings.eve_keep)
        return long

    def is_full(self) -> bool:
        """Whether Suricata's next event would find no room, of which it says nothing itself.

        Raises OSError.
        """
        disk = os.statvfs(self.directory)
        return disk.f_bavail * disk.f_frsize < _ROOM_BYTES

    def _give(self, path: Path) -> None:
        """To the user that Suricata becomes, if it becomes another."""
        if self._settings.run_as is not None and os.geteuid() == 0:
            user, _, group = self._settings.run_as.partition(":")
            shutil.chown(path, user, group or user)
