"""The looks, at real directories, interfaces, programs and sockets, and at what is not there."""

from __future__ import annotations

import os
import selectors
import threading
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute  # type: ignore[import-untyped]

from fixtures.netns import Lab
from pipeline.control import ControlServer
from pipeline.doctor import look
from suricata.settings import SuricataSettings
from tap import open_output
from tap.settings import TapSettings

ME = os.geteuid()


def test_the_machine_as_it_is(tmp_path: Path) -> None:
    found = look.machine({"state": tmp_path}, None)
    assert found.release == os.uname().release
    [place] = found.directories
    assert (place.path, place.exists, place.error) == (str(tmp_path), True, None)
    assert place.free_bytes is not None


def test_a_user_that_is_not_there() -> None:
    assert look.machine({}, "no-such-user").run_as_error is not None
    assert look.machine({}, "nobody").run_as_error is None


def test_directories_by_owner_and_mode(tmp_path: Path) -> None:
    ours, file = tmp_path / "ours", tmp_path / "file"
    ours.mkdir(mode=0o750)
    file.touch()
    group = ours.stat().st_gid
    stranger = ME + 4711
    assert look.directory(ours, "state", ME, {group}).error is None
    # Not even root: the service has given up the power over others' files.
    assert "mode 750" in str(look.directory(ours, "state", stranger, {group}).error)
    assert "mode 750" in str(look.directory(ours, "state", stranger, {group + 4711}).error)
    ours.chmod(0o770)
    assert look.directory(ours, "state", stranger, {group}).error is None
    assert "is no directory" in str(look.directory(file, "state", ME, {group}).error)
    below = look.directory(ours / "a" / "b", "state", ME, {group})
    assert (below.exists, below.error, below.path) == (False, None, str(ours / "a" / "b"))


@pytest.mark.netns
def test_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        bridge = lab.bridge(host, "br1")
        lab.attach(guest, "eth0", bridge)
        lab.attach(guest, "eth1", bridge, offloads=True)
        with host.entered(), IPRoute() as netlink:
            before = look.network("br1", True, TapSettings(), "keep")
            output = open_output(TapSettings(), "br1", 1)
            during = look.network("br1", True, TapSettings(), "keep")
            output.close()
            after = look.network("br1", True, TapSettings(), "keep")
            monkeypatch.setattr(look, "_may_list", lambda: False)
            blind = look.network("br1", True, TapSettings(), "keep")
            assert netlink.link_lookup(ifname="vtap0")
            absent = look.network("br7", True, TapSettings(interface="out0"), "segment")
        assert [one.dropped for one in (before, during, after, blind)] == [None, True, False, None]
        assert set(before.offloads) == {"br1", "port0", "port1"}
        assert not before.offloads["port0"] & {"gro", "tso"}
        assert {"gro", "gso", "tso"} <= before.offloads["port1"]
        assert (absent.offloads, absent.makes_tap, absent.device) == ({}, False, "out0")


DUMP = """\
af-packet = (null)
af-packet.0 = interface
af-packet.0.interface = vtap0
a line without the sign
odd = a = b
"""


def test_what_suricata_dumps() -> None:
    assert look.values(DUMP) == {
        "af-packet": "(null)",
        "af-packet.0": "interface",
        "af-packet.0.interface": "vtap0",
        "odd": "a = b",
    }


@pytest.mark.suricata
def test_suricata_as_it_would_be_run(tmp_path: Path) -> None:
    rules = tmp_path / "good.rules"
    rules.write_text('alert tcp any any -> any any (msg:"x"; sid:1;)\n')
    found = look.sensor(SuricataSettings(rules=[rules]), "vtap0", "keep", test_rules=True)
    assert (found.error, found.values_error, found.test_error) == (None, None, None)
    assert found.version
    assert found.values is not None
    assert found.values["af-packet.0.interface"] == "vtap0"
    assert found.tested


@pytest.mark.suricata
def test_suricata_and_what_is_wrong(tmp_path: Path) -> None:
    rules = tmp_path / "bad.rules"
    rules.write_text("alert nonsense\n")
    bad = look.sensor(SuricataSettings(rules=[rules]), "vtap0", "keep", test_rules=True)
    assert "bad.rules:1" in str(bad.test_error)
    absent = SuricataSettings(rules=[tmp_path / "absent.rules"])
    found = look.sensor(absent, "vtap0", "keep", test_rules=True)
    assert (found.tested, len(found.rules_errors)) == (False, 1)
    base = SuricataSettings(base=tmp_path / "absent.yaml")
    assert look.sensor(base, "vtap0", "keep", test_rules=False).values_error
    none = look.sensor(SuricataSettings(binary="no-such-suricata"), "v", "keep", test_rules=False)
    assert "no-such-suricata" in str(none.error)


def test_another_s_suricata(tmp_path: Path) -> None:
    (tmp_path / "eve.json").touch()
    external = {"eve": tmp_path / "eve.json", "command_socket": tmp_path / "absent.sock"}
    settings = SuricataSettings.model_validate({"external": external})
    found = look.sensor(settings, "vtap0", "keep", test_rules=True)
    assert (found.external, found.eve_error) == (True, None)
    assert "does not answer" in str(found.answers_error)
    gone = SuricataSettings.model_validate({"external": {"eve": tmp_path / "absent.json"}})
    assert look.sensor(gone, "v", "keep", test_rules=True).eve_error == "No such file or directory"


def test_the_service_that_answers_and_the_one_that_does_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    before = look.service(path)
    assert (before.runs, before.status) == (False, None)
    assert "no service answers" in str(before.reason)
    with selectors.DefaultSelector() as selector:
        answer: dict[str, Any] = {"service": {"state": "running"}}
        server = ControlServer(path, {"status": lambda: answer}, selector)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                for key, events in selector.select(0.05):
                    key.data(events)

        thread = threading.Thread(target=serve)
        thread.start()
        during = look.service(path)
        stop.set()
        thread.join()
        server.close()
    assert during.status is not None
    assert (during.status["service"], during.runs) == (answer["service"], True)
