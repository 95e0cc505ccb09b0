"""The real Suricata on a tap in a namespace: alive, killed, adopted, its rules changed.

One Suricata serves most of these tests; each finds it ready, with the rule 1.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytun import TunTapDevice

from fixtures.netns import Lab
from suricata import command, stats
from suricata.messages import SupervisorEvent
from suricata.rule_keeper import RuleKeeper
from suricata.settings import SuricataSettings
from suricata.supervisor import Supervisor

from .tapped import alerts, attack, came, events, tap, until


def rule(sid: int, keyword: str = "content") -> str:
    return f'alert tcp any any -> any 80 (msg:"path"; {keyword}:"/shell"; sid:{sid};)\n'


@dataclass
class Watched:
    """A supervisor, what it told, and the tap that it listens on."""

    settings: SuricataSettings
    directory: Path
    device: TunTapDevice | None = None
    told: list[SupervisorEvent] = field(default_factory=list)

    def begin(self, **changes: Any) -> None:
        self.settings = SuricataSettings.model_validate({**self.settings.model_dump(), **changes})
        self.supervisor = Supervisor(
            self.settings,
            interface="vtap0",
            directory=self.directory,
            on_event=self.told.append,
        )
        self.supervisor.start()
        self.runs = True

    def end(self) -> None:
        self.supervisor.stop(60)
        self.runs = False

    @property
    def status(self) -> dict[str, Any]:
        return self.supervisor.status()

    def wait(self, state: str) -> int:
        """Wait for a state; the process id."""
        until(lambda: self.status["state"] == state, lambda: (state, self.status, self.told))
        return self.status["pid"] or 0

    def heard(self, kind: str) -> list[str]:
        return [event.text for event in self.told if event.kind == kind]

    def load(self, text: str) -> None:
        """Change the rule file, and wait until it is loaded."""
        before = len(self.heard("rules_loaded"))
        self.settings.rules[0].write_text(text)
        until(lambda: len(self.heard("rules_loaded")) > before, lambda: self.told)

    def settle(self) -> None:
        """What every test may begin with."""
        if not self.runs:
            self.begin(keep_running=False, home_net=None)
        self.wait("ready")
        until(lambda: self.heard("rules_loaded"), lambda: self.told)
        file = self.settings.rules[0]
        if not file.exists() or file.read_text() != rule(1):
            self.load(rule(1))

    def alerted(self, sid: int) -> None:
        """An attack raises the alert; played again while Suricata opens the tap anew."""
        ports: set[int] = set()

        def seen() -> bool:
            assert self.device is not None
            ports.add(attack(self.device))
            return came(lambda: {(port, sid) for port in ports} & alerts(self.supervisor.eve), 1.0)

        until(seen, lambda: (sid, self.told))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    place = tmp_path_factory.mktemp("live")
    rules = place / "my.rules"
    rules.write_text(rule(1))
    settings = SuricataSettings(
        rules=[rules], ring_mb=8, stats_interval_seconds=1, eve_max_mb=1, restart_max_seconds=0.5
    )
    with Lab() as lab, lab.namespace("host").entered():
        watched = Watched(settings, place / "suricata", tap())
        watched.begin()
        try:
            yield watched
        finally:
            watched.end()


@pytest.fixture
def live(shared: Watched) -> Watched:
    shared.settle()
    return shared


@pytest.mark.netns
@pytest.mark.suricata
class TestLive:
    def test_it_becomes_ready_and_raises_alerts(self, live: Watched) -> None:
        pid = live.wait("ready")
        until(lambda: live.status["rules"]["loaded"] == 1, lambda: live.status)
        assert [event.kind for event in live.told][:3] == ["started", "ready", "rules_loaded"]
        assert live.status["version"].startswith(("7", "8"))
        assert os.getsid(pid) == pid, "Ctrl-C in a terminal is not for it"
        live.alerted(1)

    def test_its_counters(self, live: Watched) -> None:
        live.alerted(1)

        def counted() -> bool:
            folded = [stats.fold(event) for event in events(live.supervisor.eve)]
            return any(
                one.get("capture.kernel_packets", 0) >= 5 and one.get("detect.alert")
                for one in folded
            )

        until(counted, "its stats event")

    def test_a_changed_rule_file_is_loaded(self, live: Watched) -> None:
        live.load(rule(1) + rule(2))
        assert live.heard("rules_loaded")[-1] == "2 rules are loaded: the rule files changed"
        live.alerted(2)

    def test_asked_for_often_it_reloads_and_stays(self, live: Watched) -> None:
        pid = live.wait("ready")
        for number in range(500):
            live.supervisor.reload_rules(f"wish {number}")
        until(lambda: "wish 499" in live.heard("rules_loaded")[-1], lambda: live.told)
        assert len(live.heard("rules_loaded")) < 50
        assert live.wait("ready") == pid

    def test_a_broken_rule_is_kept_out_even_over_a_kill(self, live: Watched) -> None:
        live.load(rule(2))
        pid = live.wait("ready")
        file = live.settings.rules[0]
        file.write_text(rule(3) + rule(4, "contents"))
        refused = f"{file}:2: Suricata refuses this rule: unknown rule keyword 'contents'."
        until(lambda: live.status["rules"]["refused"] == [refused], lambda: live.told)
        live.alerted(2)
        os.kill(pid, signal.SIGKILL)
        until(lambda: live.status["pid"] not in (None, pid))
        assert live.wait("ready") != pid
        assert "killed by SIGKILL" in live.heard("died")[-1]
        assert live.status["restarts"] >= 1
        live.alerted(2)
        until(lambda: live.status["rules"]["refused"] == [refused], lambda: live.told)
        assert live.status["rules"]["from"] == "copies"
        file.unlink()
        until(lambda: "No such file" in str(live.status["rules"]["refused"]), lambda: live.told)
        live.alerted(2)
        file.write_text(rule(5))
        until(lambda: live.status["rules"]["from"] == "files", lambda: live.told)
        live.alerted(5)

    def test_events_are_turned_over_and_none_is_lost(self, live: Watched) -> None:
        live.wait("ready")
        eve = live.supervisor.eve
        before = len(live.heard("turned_over"))
        with eve.open("ab") as file:
            file.write(b'{"event_type": "padding"}\n' * 50_000)
        until(lambda: len(live.heard("turned_over")) > before and eve.exists(), lambda: live.told)
        live.alerted(1)
        assert eve.stat().st_size < 1 << 20
        assert eve.with_name("eve.json.1").stat().st_size > 1 << 20

    def test_a_tap_that_goes_and_comes_back(self, live: Watched) -> None:
        pid = live.wait("ready")
        assert live.device is not None
        live.device.close()
        until(lambda: any("failed to poll" in text for text in live.heard("trouble")), live.told)
        live.device = tap()
        until(
            lambda: Path("/proc/thread-self/net/packet").read_text().count("\n") > 1, "its socket"
        )
        live.alerted(1)
        assert live.wait("ready") == pid

    def test_adopted_by_the_next_start_if_nothing_else_is_wanted(self, live: Watched) -> None:
        live.wait("ready")
        live.end()
        live.begin(keep_running=True)
        pid = live.wait("ready")
        live.end()
        assert live.heard("left")
        os.kill(pid, 0)
        live.begin()
        assert live.wait("ready") == pid
        assert live.status["adopted"]
        live.alerted(1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        until(lambda: live.status["pid"] not in (None, pid))
        other = live.wait("ready")
        live.end()
        live.begin(home_net=["192.0.2.0/24"], keep_running=False)
        assert live.wait("ready") != other
        # It is a child of this process all the same; with a peeltap that died it would be init's.
        os.waitpid(other, 0)
        assert any("another configuration" in text for text in live.heard("trouble"))
        live.alerted(1)

    def test_another_peeltap_keeps_out(self, live: Watched) -> None:
        live.wait("ready")
        told: list[SupervisorEvent] = []
        other = Supervisor(
            live.settings, interface="vtap0", directory=live.directory, on_event=told.append
        )
        other.start()
        until(lambda: told, "its complaint")
        other.stop()
        assert "in use by another peeltap" in told[0].text
        assert other.status()["state"] == "stopped"

    def test_a_stop_leaves_nothing(self, live: Watched) -> None:
        pid = live.wait("ready")
        live.end()
        assert not Path(f"/proc/{pid}").exists()
        assert live.status["state"] == "stopped"
        assert live.heard("stopped")
        left = {path.name for path in live.directory.iterdir()}
        assert not left & {"command.sock", "suricata.pid"}
        with pytest.raises(command.NotAnswering):
            command.ask(live.supervisor.command_socket, "uptime")


# --- Programs of another kind, real ones made for the test ---------------------------------------


def program(path: Path, does: str) -> str:
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -V ] && echo "This is Suricata version 7.0.10" && exit\n{does}\n'
    )
    path.chmod(0o755)
    return str(path)


def watched(tmp_path: Path, **settings: Any) -> Watched:
    chosen = SuricataSettings(restart_max_seconds=0.1, **settings)
    found = Watched(chosen, tmp_path / "suricata")
    found.begin()
    return found


def test_one_that_cannot_be_started_is_given_up_and_tried_again_when_asked(tmp_path: Path) -> None:
    failing = watched(
        tmp_path,
        binary=program(tmp_path / "ids", "echo no such device >&2; exit 3"),
        restart_limit=2,
    )
    failing.wait("failed")
    assert failing.status["restarts"] == 2
    assert failing.status["last_error"].endswith("exit code 3 before it was ready: no such device")
    failing.supervisor.reload_rules("SIGHUP")
    until(lambda: len(failing.heard("failed")) == 2, lambda: failing.told)
    failing.supervisor.stop()
    assert failing.status["state"] == "stopped"


def test_one_that_never_answers_is_killed(tmp_path: Path) -> None:
    silent = watched(
        tmp_path,
        binary=program(tmp_path / "ids", "exec sleep 600"),
        ready_seconds=0.3,
        restart_limit=0,
    )
    silent.wait("failed")
    assert any("not ready after 0.3 s" in text for text in silent.heard("trouble"))
    assert silent.status["pid"] is None
    silent.supervisor.stop()


def test_one_that_is_absent(tmp_path: Path) -> None:
    absent = watched(tmp_path, binary="no-suricata", restart_limit=0)
    absent.wait("failed")
    assert "there is no program 'no-suricata'" in absent.status["last_error"]
    absent.supervisor.stop()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "suricata").write_text("in the way")
    blocked = watched(tmp_path)
    until(lambda: blocked.heard("trouble"), "its complaint")
    assert "cannot be used" in blocked.heard("trouble")[0]
    blocked.supervisor.stop()


def test_a_name_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = Watched(SuricataSettings(restart_limit=0), tmp_path / ("d" * 120))
    deep.begin()
    deep.wait("failed")
    assert "give state: directory: a shorter one" in deep.status["last_error"]
    deep.supervisor.stop()


def test_a_listener_that_raises_ends_nothing(tmp_path: Path) -> None:
    def raises(_event: SupervisorEvent) -> None:
        raise RuntimeError

    supervisor = Supervisor(
        SuricataSettings(binary="no-suricata", restart_limit=0),
        interface="vtap0",
        directory=tmp_path,
        on_event=raises,
    )
    supervisor.start()
    until(lambda: supervisor.status()["state"] == "failed", supervisor.status)
    supervisor.stop()


def test_stopped_without_a_start(tmp_path: Path) -> None:
    supervisor = Supervisor(SuricataSettings(), interface="vtap0", directory=tmp_path)
    supervisor.stop()
    assert supervisor.status()["state"] == "stopped"


def test_a_fault_at_the_first_start_does_not_end_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([ValueError("a fault")])

    def begin(keeper: RuleKeeper) -> None:
        for fault in faults:
            raise fault

    monkeypatch.setattr(RuleKeeper, "begin", begin)
    settings = SuricataSettings(binary="no-such-suricata", ready_seconds=0.01)
    watched = Watched(settings, tmp_path)
    watched.begin()
    watched.wait("backoff")
    until(lambda: watched.status["restarts"] >= 2, lambda: watched.told)
    watched.supervisor.stop()
    trouble = watched.heard("trouble")
    assert trouble[0] == "Suricata could not be looked after: ValueError('a fault')"
    assert "no-such-suricata" in trouble[-1]
