"""The operator's own Suricata: left alone, and asked where that is allowed."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

import suricata.external as module
from suricata.external import External
from suricata.messages import SupervisorEvent
from suricata.settings import ExternalSuricata

from .tapped import until

ANSWERS = {
    None: {"return": "OK"},
    "version": {"return": "OK", "message": "7.0.10 RELEASE"},
    "uptime": {"return": "OK", "message": 12},
    "ruleset-stats": {"return": "OK", "message": [{"rules_loaded": 3, "rules_failed": 1}]},
    "reload-rules": {"return": "OK", "message": "done"},
}


def serve(path: Path) -> socket.socket:
    """Answers on a command socket as Suricata 7.0.10 does."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, client.makefile("rw") as stream:
                for line in stream:
                    stream.write(json.dumps(ANSWERS[json.loads(line).get("command")]) + "\n")
                    stream.flush()

    threading.Thread(target=answer, daemon=True).start()
    return listener


def test_without_a_command_socket_nothing_is_known_and_nothing_done() -> None:
    told: list[SupervisorEvent] = []
    external = External(ExternalSuricata(), on_event=told.append)
    external.start()
    external.reload_rules("SIGHUP")
    external.reopen()
    assert external.eve == Path("/var/log/suricata/eve.json")
    assert external.status()["state"] == "external"
    assert external.status()["version"] is None
    external.stop()
    assert told == []


def test_asked_over_its_command_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STATUS_SECONDS", 60.0)
    told: list[SupervisorEvent] = []
    settings = ExternalSuricata(command_socket=tmp_path / "s")
    external = External(settings, on_event=told.append)
    assert "does not answer" in external.status()["last_error"]
    external.reload_rules("SIGHUP")
    until(lambda: len(told) == 1, "its complaint")
    assert told[0].kind == "rules_refused"
    with serve(tmp_path / "s"):
        status = external.status()
        assert (status["version"], status["uptime"]) == ("7.0.10 RELEASE", 12)
        assert (status["rules"]["loaded"], status["rules"]["failed"]) == (3, 1)
        until(lambda: not external.busy, "the first reload's end")
        external.reload_rules("SIGHUP")
        until(lambda: len(told) == 2, "the reload")
    assert told[1].text == "the operator's Suricata loaded its rules: SIGHUP"
    external.stop()
