"""The laboratory: what is in it can talk, and nothing of it stays."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.netns import Lab, LabError, wait_until

pytestmark = pytest.mark.netns


def _processes_in(namespace: str) -> list[int]:
    """The processes whose network namespace is the one named (as /proc/PID/ns/net links)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns/net").readlink()) == namespace:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_namespaces_on_a_bridge_reach_one_another_over_both_ip_versions() -> None:
    with Lab() as lab:
        host, one, other = (lab.namespace(name) for name in ("host", "one", "other"))
        bridge = lab.bridge(host, "br1")
        lab.attach(one, "eth0", bridge, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        lab.attach(other, "eth0", bridge, addresses=["192.0.2.2/24", "2001:db8::2/64"])
        for address, port in (("192.0.2.2", 7004), ("2001:db8::2", 7006)):
            other.spawn(["nc", "-l", address, str(port)], log=f"{port}.log")
            other.wait_listening(port)
            one.run(["nc", "-N", "-w", "60", address, str(port)], stdin=b"hello")
            log = lab.directory / f"{port}.log"
            wait_until(lambda log=log: log.read_text() == "hello", "the word")  # type: ignore[misc]


def test_the_host_sees_no_interface_of_a_laboratory() -> None:
    before = sorted(Path("/sys/class/net").iterdir())
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        lab.attach(guest, "eth0", lab.bridge(host, "br1"))
        assert sorted(Path("/sys/class/net").iterdir()) == before


def test_a_function_is_called_in_the_namespace_and_its_error_comes_back() -> None:
    with Lab() as lab:
        namespace = lab.namespace("one")
        [loopback] = namespace.call(socket.if_nameindex)
        assert loopback[1] == "lo"
        with pytest.raises(OSError, match="no interface with this name"):
            namespace.call(socket.if_nametoindex, "eth0")


def test_a_program_that_fails_is_named_with_its_reason() -> None:
    with Lab() as lab, pytest.raises(LabError, match="one: ethtool ended with"):
        lab.namespace("one").run(["ethtool", "nosuchdevice"])


def test_nothing_stays_after_the_end() -> None:
    with Lab() as lab:
        namespace = lab.namespace("one")
        inside = str(Path(namespace.path).readlink())
        namespace.spawn(["sleep", "600"], log="contained.log")
        namespace.spawn(["sleep", "600"], log="direct.log", contained=False)
        directory = lab.directory
        wait_until(lambda: len(_processes_in(inside)) >= 4, "the sleepers")
    assert _processes_in(inside) == []
    assert not directory.exists()


def test_nothing_stays_when_the_maker_is_killed() -> None:
    maker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, time\n"
            "from fixtures.netns import Lab\n"
            "with Lab() as lab:\n"
            "    namespace = lab.namespace('one')\n"
            "    namespace.spawn(['sleep', '600'], log='contained.log')\n"
            "    print(os.readlink(namespace.path), lab.directory, flush=True)\n"
            "    time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert maker.stdout is not None
    inside, directory = maker.stdout.readline().split()
    try:
        assert _processes_in(inside) != []
        maker.send_signal(signal.SIGKILL)
        maker.wait()
        maker.stdout.close()
        wait_until(lambda: _processes_in(inside) == [], "the namespace to end")
    finally:
        for file in Path(directory).iterdir():
            file.unlink()
        Path(directory).rmdir()
