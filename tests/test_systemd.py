"""The unit that is shipped: systemd finds no fault in it, and it gives no more than is needed."""

import configparser
import subprocess
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.privileges import KEPT
from pipeline.service_settings import Control, State

UNIT = Path(__file__).parents[1] / "packaging" / "systemd" / "peeltap.service"


class _Unit(configparser.RawConfigParser):
    """A unit is an ini file whose keys may repeat; the last one is enough here."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def unit() -> dict[str, str]:
    parser = _Unit(strict=False, interpolation=None)
    parser.read(UNIT)
    return dict(parser["Service"])


@pytest.mark.tool("systemd-analyze")
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # Where the program will be is no matter of the unit's own.
    copy.write_text(UNIT.read_text().replace("/usr/bin/peeltap", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_gives_two_capabilities(unit: dict[str, str]) -> None:
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert set(unit[key].split()) == set(KEPT.values())
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert unit["DeviceAllow"] == "/dev/net/tun rw"


def test_a_suricata_that_is_to_stay_stays(unit: dict[str, str]) -> None:
    # Any other mode kills what is left in the control group when the main process has ended.
    assert unit["KillMode"] == "process"


def test_the_quarantine_can_be_set(unit: dict[str, str]) -> None:
    # disable_ipv6 and forwarding of the tap are under /proc/sys/net.
    assert unit.get("ProtectKernelTunables", "no") == "no"


def test_its_families_are_those_that_are_used(unit: dict[str, str]) -> None:
    families = set(unit["RestrictAddressFamilies"].split())
    assert families == {"AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_INET", "AF_INET6"}


def test_it_speaks_as_the_service_does(unit: dict[str, str]) -> None:
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    assert float(unit["WatchdogSec"].removesuffix("s")) >= 30
    assert unit["ExecReload"].endswith("-HUP $MAINPID")
    program, name, *options = unit["ExecStart"].split()
    assert program == "/usr/bin/peeltap"
    cli._parser(name).parse_args(options)


def test_its_directories_are_the_defaults(unit: dict[str, str]) -> None:
    assert State().directory == Path("/var/lib") / unit["StateDirectory"]
    assert Control().socket.parent == Path("/run") / unit["RuntimeDirectory"]
