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
from tests.netns.trial import Trial, kill

pytestmark = [pytest.mark.netns, pytest.mark.suricata]

Service = Callable[..., Trial]


def test_suricata_is_killed_in_mid_traffic(service: Service) -> None:
    trial = service()
    pid = trial.suricata_pid()
    before = trial.adds_up()
    burst = trial.begin(60, pause=0.05)
    burst.answered(15)
    kill(pid)
    ports = burst.end()
    assert trial.suricata_pid() != pid
    trial.sees()
    trial.nothing_lost()
    after = trial.adds_up()
    # Packets went on: what Suricata did not see is known by the restart, not lost on our way.
    assert after["suricata"]["restarts"] == before["suricata"]["restarts"] + 1
    assert after["capture"]["kernel_drops"] == 0
    assert after["connections"]["stripped"] >= before["connections"]["stripped"] + len(ports)
    assert len(ports & set(trial.alerts())) >= 15
    assert trial.log_says("was killed by SIGKILL")


def test_its_events_are_turned_over_in_mid_burst_by_renaming(service: Service) -> None:
    trial = service()
    trial.suricata_pid()
    eve = trial.suricata_directory / "eve.json"
    burst = trial.begin(60)
    for number in range(3, 0, -1):
        burst.answered(15)
        eve.rename(eve.with_name(f"eve.json.{number}"))
        command.ask(trial.suricata_directory / "command.sock", "reopen-log-files")
    trial.all_seen(burst.end())
    trial.nothing_lost()
    trial.adds_up()


def test_its_events_are_copied_and_cut_in_mid_burst(service: Service) -> None:
    """Suricata stands still between copy and cut: what is written there nobody could save."""
    trial = service()
    pid = trial.suricata_pid()
    eve = trial.suricata_directory / "eve.json"
    burst = trial.begin(60)
    for number in range(6, 3, -1):
        burst.answered(15)
        kill(pid, signal.SIGSTOP)
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


@pytest.fixture
def small_disk(system: object) -> Path:
    """A directory of 256 KiB that only the service sees, by the same name."""
    directory: Path = system.directory / "small"  # type: ignore[attr-defined]
    directory.mkdir(exist_ok=True)
    return directory


def test_the_disk_of_the_sink_is_full_and_freed(service: Service, small_disk: Path) -> None:
    """Nothing is lost: events wait in Suricata's file."""
    trial = service(sinks=[{"file": str(small_disk / "events.json")}])
    fill(trial, small_disk)
    trial.suricata_pid()
    ports = trial.burst(40)
    trial.peeltap.wait(
        lambda status: status["events"]["sinks"][0]["trouble"], "the sink's complaint"
    )
    trial.adds_up()
    free(trial, small_disk)
    trial.all_seen(ports)
    trial.nothing_lost()


def fill(trial: Trial, directory: Path) -> None:
    trial.system.host.run(["dd", "if=/dev/zero", f"of={directory}/filler", "bs=4k"], ok=(1,))


def free(trial: Trial, directory: Path) -> None:
    trial.system.host.run(["rm", f"{directory}/filler"])


def test_the_disk_of_its_events_is_full_and_freed(service: Service) -> None:
    wait_until(lambda: True, "")
