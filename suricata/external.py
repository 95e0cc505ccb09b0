"""The operator's own Suricata: nothing is run, its EVE is read, and it is asked if it may be.

It has the face of `Supervisor`, so that the service need not know which of the two it has. With
`command_socket` it is asked for its version and to reload its rules; its files are its operator's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from . import command
from .messages import Kind, Level, SupervisorEvent
from .settings import ExternalSuricata

_RELOAD_SECONDS: Final = 600.0
_STATUS_SECONDS: Final = 0.5


class External:
    """What is known of the operator's Suricata; `on_event` as for `Supervisor`."""

    def __init__(
        self,
        settings: ExternalSuricata,
        *,
        on_event: Callable[[SupervisorEvent], None] = lambda event: None,
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        self._stopping = threading.Event()
        self._busy = threading.Lock()
        self._last_error: str | None = None

    @property
    def eve(self) -> Path:
        """The file that it writes events to."""
        return self._settings.eve

    @property
    def command_socket(self) -> Path | None:
        """Where it takes commands, if that is known."""
        return self._settings.command_socket

    @property
    def busy(self) -> bool:
        """Whether a reload is under way."""
        return self._busy.locked()

    def start(self) -> None:
        """Nothing: it is not ours to start."""

    def reopen(self) -> None:
        """Nothing: its files are its operator's."""

    def stop(self, timeout: float = 0.0) -> None:
        """Ask it nothing more."""
        self._stopping.set()

    def reload_rules(self, why: str) -> None:
        """Pass the wish on, from a thread of its own; one at a time. Returns at once."""
        socket = self._settings.command_socket
        if socket is not None and self._busy.acquire(blocking=False):
            thread = threading.Thread(
                target=self._reload, args=(socket, why), name="suricata-reload", daemon=True
            )
            thread.start()

    def status(self) -> dict[str, Any]:
        """As far as it answers, within half a second."""
        told: dict[str, Any] = {
            "state": "external",
            "pid": None,
            "adopted": False,
            "version": None,
            "restarts": 0,
            "uptime": None,
            "errors": 0,
            "last_error": self._last_error,
            "disk_full": False,
            "rules": {"loaded": None, "failed": None, "from": "operator", "refused": []},
        }
        socket = self._settings.command_socket
        if socket is None:
            return told
        try:
            told["version"] = str(command.ask(socket, "version", timeout=_STATUS_SECONDS))
            told["uptime"] = command.ask(socket, "uptime", timeout=_STATUS_SECONDS)
            [rules] = command.ask(socket, "ruleset-stats", timeout=_STATUS_SECONDS)
            told["rules"].update(loaded=rules["rules_loaded"], failed=rules["rules_failed"])
        except command.CommandError as error:
            told["last_error"] = str(error)
        except (ValueError, TypeError, KeyError):
            # Of another version: what it did say stands.
            pass
        return told

    def _reload(self, socket: Path, why: str) -> None:
        try:
            command.ask(
                socket,
                "reload-rules",
                timeout=_RELOAD_SECONDS,
                wanted=lambda: not self._stopping.is_set(),
            )
        except command.CommandError as error:
            self._last_error = str(error)
            self._tell("rules_refused", "error", f"the rules were not reloaded: {error}")
        else:
            self._last_error = None
            self._tell("rules_loaded", "info", f"the operator's Suricata loaded its rules: {why}")
        finally:
            self._busy.release()

    def _tell(self, kind: Kind, level: Level, text: str) -> None:
        if not self._stopping.is_set():
            self._on_event(SupervisorEvent(kind, level, text))
