"""`peeltap run` between real proxies and decoys: an attack, a restart, signals, what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.netns import Lab, wait_until
from fixtures.scenarios import TRAVERSAL, curl
from fixtures.topology import ATTACKER, DECOY, Plan
from pipeline.privileges import User
from tests.support.live import Peeltap, System, processes

pytestmark = [pytest.mark.netns, pytest.mark.suricata, pytest.mark.xdist_group("live")]

ONLY_TWO = "0000000000003000"
METRICS = "127.0.0.1:9469"
PATH = "/cgi-bin/.%2e/etc/passwd"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with Lab() as lab:
        yield System(lab, Plan())


def attack(system: System, port: int, path: str = PATH) -> None:
    curl(port, path).play(system.attacker)


def alerts_of(peeltap: Peeltap, port: int) -> list[dict[str, object]]:
    """The alerts about the attacker at this port, when there is one."""

    def found() -> list[dict[str, object]]:
        return [event for event in peeltap.events("alert") if event["src_port"] == port]

    try:
        wait_until(lambda: bool(found()), f"an alert about port {port}")
    except Exception as error:
        raise AssertionError(f"{error}\n{peeltap.log_text()}\n{peeltap.status()}") from None
    return found()


def capabilities(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split()[1] for line in lines if line.startswith("Cap")}


def test_an_attack_becomes_an_event_with_the_true_attacker(system: System) -> None:
    with system.peeltap(metrics={"listen": METRICS}) as peeltap:
        peeltap.wait_ready()
        attack(system, 47001)
        [alert] = alerts_of(peeltap, 47001)
        assert (alert["src_ip"], alert["dest_ip"], alert["dest_port"]) == (
            ATTACKER[4],
            DECOY[4],
            80,
        )
        assert alert["alert"]["signature_id"] == TRAVERSAL  # type: ignore[index]
        assert alert["peeltap"]["confidence"] == "exact"  # type: ignore[index]

        status = peeltap.wait(
            lambda status: (
                status["events"]["enricher"]["types"].get("alert") == 1
                and status["suricata"]["rules"]["loaded"] == 7
                and "capture.kernel_packets" in status["suricata"]["stats"]
            ),
            "all counters",
        )
        assert status["connections"] == {"stripped": 1}
        packets = status["packets"]
        assert packets["in"] == status["capture"]["packets"] > 0
        ways = sum(packets[way] for way in ("emitted", "merged", "dropped", "held"))
        assert packets["in"] == ways
        assert packets["frames_out"] == status["output"]["frames"]
        assert status["output"]["complaints"] == []

        text = ""

        def scraped() -> bool:
            # In between a packet of the kernel's own may have come.
            nonlocal text
            asked = peeltap.status()["packets"]["in"]
            text = system.host.run(["curl", "--silent", f"http://{METRICS}/metrics"]).decode()
            return f"\npeeltap_packets_total {asked:.1f}\n" in text

        wait_until(scraped, "metrics that agree with the status")
        assert '\npeeltap_connections_total{verdict="stripped"} 1.0\n' in text
        assert '\npeeltap_suricata_state{state="ready"} 1.0\n' in text
        assert '\npeeltap_suricata_stats{counter="capture.kernel_packets"}' in text

        # It and its Suricata may do two things, and nothing gives them more.
        assert peeltap.process is not None
        for pid in (peeltap.process.pid, status["suricata"]["pid"]):
            assert capabilities(pid) == {ONLY_TWO}
        peeltap.wait_notified("WATCHDOG=1")

        assert peeltap.stop() == 0
        peeltap.wait_notified("STOPPING=1")
        # The flow's end is written by a Suricata that stops in order.
        assert [event["src_ip"] for event in peeltap.events("flow")] == [ATTACKER[4]]
        # Nothing is left.
        assert processes(f"{peeltap.directory}/state") == []
        assert "vtap0" not in system.links()
        assert list(peeltap.socket.parent.iterdir()) == []
        problems = [line for line in peeltap.log() if line["level"] != "info"]
        assert problems == []


HELD_OPEN = r"""
exec 3<>/dev/tcp/{address}/80
ask() {{ printf 'GET %s HTTP/1.1\r\nHost: intranet.decoy.example\r\n\r\n' "$1" >&3; }}
ask /index.html
read -r status <&3 && echo "$status"
read -r go
ask /cgi-bin/.%2e/etc/passwd
while read -r line <&3; do case $line in HTTP/1.1*) echo "$line"; break;; esac; done
read -r go
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_under_an_established_connection(system: System, end: signal.Signals) -> None:
    sections = {"tap": {"persistent": True}, "suricata": {"keep_running": True}}
    with system.peeltap(**sections) as first:
        first.wait_ready()
        script = HELD_OPEN.format(address=DECOY[4])
        client = subprocess.Popen(
            system.attacker.command(["bash", "-c", script], contained=True),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert client.stdin is not None
        assert client.stdout is not None
        assert "200" in client.stdout.readline()
        first.wait(lambda status: status["connections"].get("stripped", 0) >= 1, "the header")
        saved = first.status()["checkpoint"]["saved"]
        first.wait(lambda status: status["checkpoint"]["saved"] > saved + 1, "a checkpoint")
        suricata = first.status()["suricata"]["pid"]
        before = len(first.events())
        first.stop(end)
        assert "vtap0" in system.links()
        assert first.process is not None

        first.notified.clear()
        first.start()
        first.wait_ready()
        status = first.status()
        assert status["suricata"]["pid"] == suricata
        assert status["suricata"]["adopted"]
        assert status["checkpoint"]["resumed"] >= 1
        said = [line["event"] for line in first.log()]
        killed = "the last run did not stop in order: connections of its last seconds are not known"
        assert (killed in said) == (end is signal.SIGKILL)

        client.stdin.write("go\n")
        answer = client.stdout.readline()
        assert "404" in answer
        wait_until(lambda: len(first.events("alert")) > 0, "the alert")
        newest = first.events("alert")[-1]
        assert newest["src_ip"] == ATTACKER[4]
        assert newest["peeltap"]["confidence"] == "exact"
        assert len(first.events()) > before
        client.stdin.write("go\n")
        client.wait(60)
        first.stop()
    with system.host.netlink() as netlink:
        [index] = netlink.link_lookup(ifname="vtap0")
        netlink.link("del", index=index)


def test_a_storm_of_hangups_reopens_the_sinks(system: System) -> None:
    with system.peeltap() as peeltap:
        peeltap.wait_ready()
        attack(system, 47011)
        alerts_of(peeltap, 47011)
        for number in range(300):
            if number == 150:
                peeltap.events_file.rename(peeltap.events_file.with_suffix(".1"))
            peeltap.send(signal.SIGHUP)
        wait_until(peeltap.events_file.exists, "the new file")
        attack(system, 47012)
        [alert] = alerts_of(peeltap, 47012)
        assert alert["src_ip"] == ATTACKER[4]
        reopened = [line for line in peeltap.log() if line["event"] == "sinks are opened anew"]
        assert 1 <= len(reopened) <= 10

        # Asked twice, it does not wait for Suricata to end in order.
        peeltap.send(signal.SIGTERM)
        wait_until(lambda: "STOPPING=1" in peeltap.notified, "the end to begin")
        assert peeltap.stop() == 0
        assert processes(f"{peeltap.directory}/state") == []


def test_as_a_user_of_its_own(system: System) -> None:
    user = User.find("nobody")
    own = system.directory / "nobody"
    own.mkdir()
    os.chown(own, user.uid, user.gid)
    with system.peeltap(
        run_as="nobody",
        state={"directory": str(own / "state")},
        sinks=[{"file": str(own / "events.json")}],
        control={"socket": str(own / "control.sock")},
    ) as peeltap:
        peeltap.socket, peeltap.events_file = own / "control.sock", own / "events.json"
        peeltap.wait_ready()
        attack(system, 47021)
        [alert] = alerts_of(peeltap, 47021)
        assert alert["src_ip"] == ATTACKER[4]
        assert peeltap.process is not None
        status = peeltap.status()
        for pid in (peeltap.process.pid, status["suricata"]["pid"]):
            assert Path(f"/proc/{pid}").stat().st_uid == user.uid
            assert capabilities(pid) == {ONLY_TWO}
        # The tap can be made anew by whom it has become.
        with system.host.netlink() as netlink:
            [index] = netlink.link_lookup(ifname="vtap0")
            netlink.link("del", index=index)
        peeltap.wait(lambda status: status["output"]["renewed"] == 1, "another tap")
        peeltap.wait(lambda status: status["output"]["state"] == "up", "the tap")
        assert peeltap.stop() == 0
    assert processes(str(own / "state" / "suricata")) == []


def test_without_its_interface_it_waits(system: System) -> None:
    with system.peeltap(capture={"interface": "br9"}, suricata="external") as peeltap:
        peeltap.wait_ready("external")
        assert peeltap.status()["capture"]["state"] == "gone"
        peeltap.ask("stop")
        assert peeltap.process is not None
        assert peeltap.process.wait(60) == 0
        said = [line["event"] for line in peeltap.log()]
        assert "br9 is not there; waiting for it" in said


def test_status_tells_of_one_service_and_another_is_refused(system: System) -> None:
    root = Path(__file__).parents[2]
    with system.peeltap(suricata="external") as peeltap:
        peeltap.wait_ready("external")
        status = [sys.executable, "-m", "pipeline", "status", "--socket", str(peeltap.socket)]
        page = subprocess.run(status, capture_output=True, text=True, check=True, cwd=root)
        assert "br1 -> vtap0" in page.stdout
        told = subprocess.run([*status, "--json"], capture_output=True, check=True, cwd=root)
        assert json.loads(told.stdout)["service"]["state"] == "running"

        again = [sys.executable, "-m", "pipeline", "run", "--config", peeltap.config]
        done = subprocess.run(
            system.host.command(again, contained=False),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=root,
        )
        assert done.returncode == 1
        assert "in use by another process" in done.stderr
        assert peeltap.status()["output"]["state"] == "up"

        assert peeltap.stop(signal.SIGINT) == 0
        done = subprocess.run(status, capture_output=True, text=True, check=False, cwd=root)
        assert done.returncode == 1
        assert "start it with peeltap run" in done.stderr


def test_two_workers_meet_again_on_a_bridge_made_anew(system: System) -> None:
    with system.peeltap(suricata="external", workers=2) as peeltap:
        peeltap.wait_ready("external")
        attack(system, 47031)
        peeltap.wait(lambda status: status["connections"].get("stripped") == 1, "the first")
        with system.host.netlink() as netlink:
            ports = [
                link["index"]
                for link in netlink.get_links()
                if link.get_attr("IFLA_IFNAME").startswith("port")
            ]
            netlink.link("del", index=netlink.link_lookup(ifname="br1")[0])
        peeltap.wait(lambda status: status["capture"]["state"] == "gone", "its end")
        with system.host.netlink() as netlink:
            netlink.link("add", ifname="br1", kind="bridge")
            [bridge] = netlink.link_lookup(ifname="br1")
            netlink.link("set", index=bridge, state="up")
            for port in ports:
                netlink.link("set", index=port, master=bridge)
        peeltap.wait(
            lambda status: [w["capture"]["reopened"] for w in status["workers"]] == [1, 1],
            "both workers' return",
        )
        for port in range(47032, 47036):
            attack(system, port)
        status = peeltap.wait(
            lambda status: status["connections"].get("stripped") == 5, "both workers' connections"
        )
        # No connection is torn between the two.
        assert status["connections"] == {"stripped": 5}
        assert peeltap.stop() == 0
