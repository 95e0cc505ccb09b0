"""What FRR is told, and what is made of what it says; the daemons run in tests/netns/topologies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diversion.setup import SetupError, frr, frr_daemons
from diversion.setup.frr import Session
from diversion.setup.frr_daemons import Process
from diversion.setup.settings import FrrSettings
from diversion.setup.things import Routing


def settings(**more: object) -> FrrSettings:
    neighbours = [{"address": "198.51.100.2"}, {"address": "198.51.100.3", "as": 65002}]
    told = {"as": 65001, "router_id": "198.51.100.1", "neighbours": neighbours}
    return FrrSettings.model_validate(told | more)


def test_what_bgpd_is_told() -> None:
    assert frr.configuration("host", settings()) == (
        "frr defaults datacenter\n"
        "hostname host\n"
        "log syslog warnings\n"
        "router bgp 65001\n"
        " bgp router-id 198.51.100.1\n"
        " no bgp default ipv4-unicast\n"
        " neighbor 198.51.100.2 remote-as 65001\n"
        " neighbor 198.51.100.3 remote-as 65002\n"
        " address-family l2vpn evpn\n"
        "  neighbor 198.51.100.2 activate\n"
        "  neighbor 198.51.100.3 activate\n"
        "  advertise-all-vni\n"
        " exit-address-family\n"
        "exit\n"
    )
    assert "  flooding disable\n" in frr.configuration("host", settings(flood=False))


RUNNING = {
    "peers": {
        "198.51.100.2": {
            "state": "Established",
            "peerUptime": "00:01:01",
            "peerUptimeMsec": 61000,
            "pfxRcd": 2,
        },
        "198.51.100.3": {"state": "Active", "peerUptime": "never", "peerUptimeMsec": 0},
    }
}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            json.dumps(RUNNING),
            [
                Session("198.51.100.2", "Established", 61, 2),
                Session("198.51.100.3", "Active"),
                Session("198.51.100.4", "unknown to bgpd"),
            ],
        ),
        ("{}", [Session(f"198.51.100.{at}", "unknown to bgpd") for at in (2, 3, 4)]),
        ("% no", [Session(f"198.51.100.{at}", "bgpd does not answer") for at in (2, 3, 4)]),
        (
            '{"peers": []}',
            [Session(f"198.51.100.{at}", "bgpd does not answer") for at in (2, 3, 4)],
        ),
        ("[]", [Session(f"198.51.100.{at}", "bgpd does not answer") for at in (2, 3, 4)]),
    ],
)
def test_sessions(answer: str, told: list[Session]) -> None:
    def run(namespace: str, argv: list[str], text: str = "") -> str:
        assert (namespace, argv[:3], text) == ("", ["vtysh", "-N", "peeltap-host"], "")
        return answer

    asked = ["198.51.100.2", "198.51.100.3", "198.51.100.4"]
    assert frr.sessions(run, "host", asked) == told
    assert [one.stands for one in told] == [one.state == "Established" for one in told]


def test_bgpd_that_does_not_run_is_said_to() -> None:
    def run(namespace: str, argv: list[str], text: str = "") -> str:
        raise SetupError(f"vtysh: failed {namespace} {argv} {text}")

    assert frr.sessions(run, "host", ["192.0.2.1"]) == [
        Session("192.0.2.1", "bgpd does not answer")
    ]


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Process]:
    """FRR is installed, and these are its processes."""
    found: list[Process] = []
    (tmp_path / "watchfrr").touch()
    monkeypatch.setattr(frr_daemons, "PROGRAMS", tmp_path)
    monkeypatch.setattr(frr.shutil, "which", lambda program: program)
    monkeypatch.setattr(frr_daemons, "processes", lambda: iter(found))
    return found


def test_nothing_stands_in_the_way(running: list[Process]) -> None:
    running += [Process(1, "zebra", "peeltap-host"), Process(2, "zebra", "", here=False)]
    running += [Process(3, "bgpd", "")]
    assert frr.obstacle("host") is None


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (Process(7, "zebra", ""), "this host's own, process 7"),
        (Process(7, "zebra", "peeltap-other"), "of peeltap-other, process 7"),
        (Process(7, "bgpd", "peeltap-host", here=False), "another network of this host"),
    ],
)
def test_what_stands_in_the_way(running: list[Process], process: Process, words: str) -> None:
    running.append(process)
    assert words in str(frr.obstacle("host"))


def test_a_host_without_frr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(frr_daemons, "PROGRAMS", tmp_path)
    assert frr.obstacle("host") == "FRR is not installed; apt-get install frr"


def test_daemons_of_which_one_is_missing_are_not_as_they_should_be(
    running: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(frr_daemons, "RUN", tmp_path)
    (tmp_path / "peeltap-host").mkdir()
    (tmp_path / "peeltap-host/bgpd.conf").write_text("router bgp 1\n")
    assert frr.look("host") is None
    running += [Process(at, one, "peeltap-host") for at, one in enumerate(("zebra", "watchfrr"))]
    assert frr.look("host") == Routing("", "host", "")
    running.append(Process(9, "bgpd", "peeltap-host"))
    assert frr.look("host") == Routing("", "host", "router bgp 1\n")


def test_what_a_person_would_have_typed() -> None:
    thing = Routing("", "host", "router bgp 1\n")
    assert frr.commands(thing, add=True) == [
        "install -d -o frr -g frr /run/frr/peeltap-host",
        "cat > /run/frr/peeltap-host/bgpd.conf <<'END'",
        "router bgp 1",
        "END",
        "echo hostname host > /run/frr/peeltap-host/zebra.conf",
        "/usr/lib/frr/zebra -d -N peeltap-host -f /run/frr/peeltap-host/zebra.conf",
        "/usr/lib/frr/bgpd -d -N peeltap-host -f /run/frr/peeltap-host/bgpd.conf",
        "/usr/lib/frr/watchfrr -d -N peeltap-host zebra bgpd",
    ]
    kill, remove = frr.commands(thing, add=False)
    assert kill.startswith("kill $(cat /run/frr/peeltap-host/watchfrr.pid) ")
    assert remove == "rm -r /run/frr/peeltap-host"
