"""What may befall Suricata, its files and its events while the service runs."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.netns import wait_until
from suricata import command
from tests.netns.trial import Trial, kill, stand_still

pytestmark = [pytest.mark.netns, pytest.mark.suricata]

Service = Callable[..., Trial]


def test_suricata_is_killed_in_mid_traffic(service: Service) -> None:
    trial = service()
    pid = trial.suricata_pid()
    before = trial.adds_up()
    burst = trial.begin(60, pause=0.05)
    burst.answered(15)
    # What it has seen and not written is lost with it.
    wait_until(lambda: len(burst.ports & set(trial.alerts())) >= 15, "their alerts")
    kill(pid)
    ports = burst.end()
    assert trial.suricata_pid() != pid
    trial.sees()
    trial.nothing_lost()
    after = trial.adds_up()
    # Packets went on: what Suricata did not see is known by the restart, not lost on our way.
    assert after["suricata"]["restarts"] == before["suricata"]["restarts"] + 1
    assert after["capture"]["kernel_drops"] == 0
    trial.stripped(before, len(ports))
    assert len(ports & set(trial.alerts())) >= 15
    assert trial.log_says("was killed by SIGKILL")


def test_its_events_are_turned_over_in_mid_burst_by_renaming(service: Service) -> None:
    trial = service()
    trial.suricata_pid()
    eve = trial.suricata_directory / "eve.json"
    burst = trial.begin(60, pause=0.02)
    for number in range(3, 0, -1):
        burst.answered(15)
        # Suricata opens its file anew when it has something to write.
        wait_until(eve.exists, "the new file")
        eve.rename(eve.with_name(f"eve.json.{number}"))
        command.ask(trial.suricata_directory / "command.sock", "reopen-log-files", timeout=60)
    trial.all_seen(burst.end())
    trial.nothing_lost()
    trial.adds_up()


def test_its_events_are_copied_and_cut_in_mid_burst(service: Service) -> None:
    """Suricata stands still between copy and cut: what is written there nobody could save."""
    trial = service()
    pid = trial.suricata_pid()
    eve = trial.suricata_directory / "eve.json"
    burst = trial.begin(60, pause=0.02)
    for number in range(6, 3, -1):
        burst.answered(15)
        stand_still(pid)
        shutil.copyfile(eve, eve.with_name(f"eve.json.{number}"))
        os.truncate(eve, 0)
        kill(pid, signal.SIGCONT)
    trial.all_seen(burst.end())
    trial.nothing_lost()
    trial.adds_up()


def test_a_storm_of_sighups_in_mid_traffic(service: Service) -> None:
    trial = service()
    pid = trial.suricata_pid()
    burst = trial.begin(40, pause=0.02)
    for _ in range(1000):
        trial.peeltap.send(signal.SIGHUP)
    trial.all_seen(burst.end())
    trial.nothing_lost()
    trial.adds_up()
    assert trial.suricata_pid() == pid
    assert trial.peeltap.log_text().count("rules are loaded") < 20


def test_the_disk_of_the_sink_is_full_and_freed(small_disk: Path, service: Service) -> None:
    """Nothing is lost: events wait in Suricata's file."""
    trial = service(
        sinks=[{"file": f"{small_disk}/events.json"}],
        state={"directory": f"{small_disk.parent}/state-2"},
    )
    fill(trial, small_disk)
    ports = trial.burst(40)
    trial.peeltap.wait(
        lambda status: any(sink["trouble"] for sink in status["events"]["sinks"].values()),
        "the sink's complaint",
    )
    trial.adds_up()
    free(trial, small_disk)
    trial.all_seen(ports)
    trial.nothing_lost()
    trial.adds_up()


def test_the_disk_of_its_events_and_our_state_is_full_and_freed(
    small_disk: Path, service: Service
) -> None:
    """What Suricata could not write is lost, and only that; packets and service go on."""
    trial = service(state={"directory": f"{small_disk}/state"})
    before = trial.adds_up()
    fill(trial, small_disk)
    ports = trial.burst(40)
    trial.stripped(before, len(ports))
    trial.adds_up()
    trial.peeltap.wait(
        lambda status: status["suricata"]["disk_full"] and status["store"]["trouble"],
        "the complaints",
    )
    free(trial, small_disk)
    trial.sees()
    # What Suricata took back, half written, may have been read.
    trial.nothing_lost(twice=True)
    trial.peeltap.wait(
        lambda status: (
            not status["suricata"]["disk_full"]
            and not any(status[part]["trouble"] for part in ("store", "checkpoint", "events"))
        ),
        "an end of the complaints",
    )
    trial.adds_up()
    assert trial.log_says("events that Suricata writes now are lost")


def fill(trial: Trial, disk: Path) -> None:
    trial.system.host.run(["dd", "if=/dev/zero", f"of={disk}/filler", "bs=1k"], ok=(1,))


def free(trial: Trial, disk: Path) -> None:
    trial.system.host.run(["rm", f"{disk}/filler"])
