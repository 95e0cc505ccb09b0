"""The setup stage as a command: what it says, what it refuses, what two topologies share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fixtures.netns import LabError
from pipeline import setup, topology_file
from pipeline.errors import RunError
from tests.pipeline.refused import REFUSED
from tests.support.plumbing import ROOT, Host, plumbed

ONE = "name: one\nbridges:\n  br1: {addresses: [172.16.23.1/24]}\n"
TWO = "name: two\nbridges:\n  br1: {addresses: [172.16.23.1/24]}\ntap: {}\n"
MANAGED = "name: m\nbridges:\n  br0: {ports: [eth0], addresses: [192.0.2.5/24]}\n"


REFUSALS = """
import json
from pathlib import Path
from pipeline import setup, topology_file
from pipeline.errors import ConfigError
from tests.support import network_state

Path("/run/here").touch()
before = network_state.state()
told = []
for text in {texts}:
    try:
        setup.up(topology_file.parse(text, "t.yaml"), Path("/run/state"))
        told.append("was taken")
    except ConfigError as error:
        told.append(str(error))
print(json.dumps([told, network_state.differences(before, network_state.state())]))
"""


def cli(host: Host, path: Path, *words: str, ok: tuple[int, ...] = (0,)) -> str:
    argv = [sys.executable, "-m", "tests.support.run_cli", "setup", *words, "-t", str(path)]
    state = ["--state", str(host.lab.directory / "state")]
    return host.host.run(["env", f"--chdir={ROOT}", *argv, *state], ok=ok).decode()


@pytest.fixture
def host() -> object:
    with plumbed(vms=0) as made:
        yield made


@pytest.mark.netns
@pytest.mark.tool("nft")
class TestOnAHost:
    def test_a_whole_life(self, host: Host) -> None:
        path = host.written("one.yaml", ONE)
        assert cli(host, path, "plan") == (
            "ip link add br1 type bridge\n"
            "ip link set br1 up\n"
            "ip address add 172.16.23.1/24 dev br1\n"
            "one: 3 steps to take\n"
        )
        assert cli(host, path, "status", ok=(1,)) == "one: is not up\n"
        assert cli(host, path, "up") == "one: is up; 3 steps taken\n"
        assert cli(host, path, "up") == "one: is up; there was nothing to do\n"
        assert cli(host, path, "status") == "one: the host is as the file says\n"
        host.host.run(["ip", "address", "flush", "dev", "br1"])
        assert cli(host, path, "status", ok=(1,)) == (
            "ip address add 172.16.23.1/24 dev br1\n"
            "one: the host differs; 1 step back to what the file says\n"
        )
        assert json.loads(cli(host, path, "up", "--json")) == {
            "topology": "one",
            "state": "up",
            "steps": [{"commands": ["ip address add 172.16.23.1/24 dev br1"]}],
        }
        assert cli(host, path, "down", "--quiet") == ""
        assert cli(host, path, "down") == "one: is down; there was nothing to take back\n"

    def test_a_file_that_changes_changes_the_host_and_nothing_else(self, host: Host) -> None:
        path = host.written("one.yaml", ONE)
        cli(host, path, "up")
        path.write_text(ONE.replace("172.16.23.1", "172.16.24.1") + "  br2: {}\n")
        assert cli(host, path, "plan").splitlines()[:-1] == [
            "ip address del 172.16.23.1/24 dev br1",
            "ip address add 172.16.24.1/24 dev br1",
            "ip link add br2 type bridge",
            "ip link set br2 up",
        ]
        cli(host, path, "up")
        cli(host, path, "down")
        links = json.loads(host.host.run(["ip", "-j", "link"]))
        assert {link["ifname"] for link in links} == {"lo", "eth0"}

    def test_what_two_topologies_share_stays_for_the_second(self, host: Host) -> None:
        one, two = host.written("one.yaml", ONE), host.written("two.yaml", TWO)
        cli(host, one, "up")
        cli(host, two, "up")
        cli(host, one, "down")
        assert cli(host, two, "status") == "two: the host is as the file says\n"
        cli(host, two, "down")
        links = json.loads(host.host.run(["ip", "-j", "link"]))
        assert {link["ifname"] for link in links} == {"lo", "eth0"}

    @pytest.mark.tool("iptables", "ipset")
    @pytest.mark.parametrize("last", ["one", "two"])
    def test_tables_of_iptables_go_with_the_last_that_used_them(
        self, host: Host, last: str
    ) -> None:
        virtual = "virtual: [{on: br1, style: direct, addresses: [172.16.23.9], to: 172.16.23.2}]"
        files = {
            name: host.written(f"{name}.yaml", f"firewall: iptables\n{text}{virtual}\n")
            for name, text in (("one", ONE), ("two", ONE.replace("one", "two").replace("23", "24")))
        }
        files["two"].write_text(
            files["two"].read_text().replace("br1", "br2").replace(".23.9", ".24.9")
        )
        for path in files.values():
            cli(host, path, "up")
        first = "one" if last == "two" else "two"
        cli(host, files[first], "down")
        cli(host, files[last], "down")
        assert host.host.run(["nft", "list", "ruleset"]) == b""

    def test_who_would_be_cut_off_is_asked_first_and_gets_everything_back(self, host: Host) -> None:
        host.host.run(["ip", "address", "add", "192.0.2.5/24", "dev", "eth0"])
        host.host.run(["ip", "route", "add", "default", "via", "192.0.2.1"])
        before = host.host.run(["ip", "route"])
        path = host.written("m.yaml", MANAGED)
        with pytest.raises(LabError, match=r"m.yaml:3: bridges.br0.ports\[0\]: eth0 has the addr"):
            cli(host, path, "up")
        cli(host, path, "up", "--yes-cut-me-off")
        assert b"192.0.2.5" not in host.host.run(["ip", "address", "show", "dev", "eth0"])
        assert cli(host, path, "status") == "m: the host is as the file says\n"
        cli(host, path, "down")
        assert host.host.run(["ip", "route"]) == before

    def test_what_stands_in_the_way_is_told_before_anything_is_touched(self, host: Host) -> None:
        host.host.run(["ip", "address", "add", "172.16.23.1/16", "dev", "eth0"])
        path = host.written("one.yaml", ONE + "  br3: {ports: [eth7]}\n")
        with pytest.raises(LabError) as refused:
            cli(host, path, "up")
        text = str(refused.value)
        assert "bridges.br1.addresses[0]: 172.16.23.1 is in use on eth0" in text
        assert "one.yaml:4: bridges.br3.ports[0]: there is no interface eth7" in text
        assert b"br1" not in host.host.run(["ip", "link"])


@pytest.mark.netns
@pytest.mark.tool("nft")
def test_what_is_refused_is_told_with_place_and_remedy_and_nothing_is_touched(host: Host) -> None:
    host.host.run(["ip", "address", "add", "192.0.2.5/24", "dev", "eth0"])
    texts = [text for text, _ in REFUSED]
    told, trace = json.loads(host.python(REFUSALS.format(texts=texts)))
    wrong = [
        (said, message)
        for said, (_, message) in zip(told, REFUSED, strict=True)
        if not said.startswith(message)
    ]
    assert wrong == []
    assert trace == []


def test_a_host_without_a_firewall_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(RunError, match="apt-get install nftables"):
        setup.backend(topology_file.parse(ONE, "one.yaml"))
    assert setup.backend(topology_file.parse("firewall: iptables\n" + ONE, "x")) == "iptables"
