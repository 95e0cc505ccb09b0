"""What may befall the service itself, and the clock."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.netns import wait_until
from tests.netns.trial import Trial
from tests.support.live import System

pytestmark = [pytest.mark.netns, pytest.mark.suricata]

Service = Callable[..., Trial]


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "passing"])
def test_killed_and_started_again_under_established_connections(
    service: Service, system: System, persistent: bool
) -> None:
    trial = service(tap={"persistent": persistent})
    pid = trial.suricata_pid()
    with trial.kept() as kept:
        kept.ask()
        trial.all_seen({kept.port})
        saved = trial.peeltap.status()["checkpoint"]["saved"]
        trial.peeltap.wait(lambda status: status["checkpoint"]["saved"] >= saved + 2, "the table")
        trial.peeltap.stop(signal.SIGKILL)
        trial.peeltap.notified.clear()
        trial.peeltap.start()
        trial.peeltap.wait_ready()
        trial.sees()
        kept.ask()
        wait_until(lambda: trial.alerts()[kept.port] >= 2, "the old connection's next alert")
    assert trial.suricata_pid() == pid, "Suricata was adopted"
    assert trial.log_says("the last run did not stop in order")
    trial.nothing_lost(twice=True)
    trial.adds_up()
    trial.peeltap.stop()
    if persistent:
        system.host.run(["ip", "link", "del", "vtap0"])


@pytest.mark.tool("cc")
def test_the_clock_is_stepped(
    service: Service, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour forward, then two back, for the service and for Suricata.

    The kernel's clock stays, which stamps the packets: harder than a step of the whole machine.
    """
    library, step = system.directory / "clock.so", system.directory / "clock"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    step.write_bytes(bytes(8))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_OFFSET", str(step))
    # It would give up connections that look an hour old to it, whenever it happens to look.
    patient = {f"flow-timeouts.tcp.{state}": 86_400 for state in ("new", "established")}
    trial = service(suricata={"extra": patient})
    monkeypatch.undo()
    pid = trial.suricata_pid()
    with trial.kept() as kept:
        kept.ask()
        for hours in (1, -1, 0):
            with step.open("r+b") as file:
                file.write((hours * 3600).to_bytes(8, "little", signed=True))
            kept.ask()
            # One that Suricata was looking at as its clock moved may be lost to it.
            trial.sees(5)
            trial.adds_up()
            assert hours_off(trial) == hours, "the service lives by the stepped clock"
        wait_until(lambda: trial.alerts()[kept.port] >= 4, "all alerts of the old connection")
    trial.nothing_lost()
    assert trial.suricata_pid() == pid


def hours_off(trial: Trial) -> int:
    """By how much the service's clock is wrong, as its log shows."""
    said = "sinks are opened anew"
    before = trial.peeltap.log_text().count(said)
    trial.peeltap.send(signal.SIGHUP)
    wait_until(lambda: trial.peeltap.log_text().count(said) > before, said)
    [*_, line] = [line for line in trial.peeltap.log() if line["event"] == said]
    stamp = datetime.fromisoformat(line["timestamp"])
    return round((stamp - datetime.now(UTC)).total_seconds() / 3600)
