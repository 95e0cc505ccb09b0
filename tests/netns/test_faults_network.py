"""What may befall the interfaces, and what may come in on them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from fixtures.netns import Lab, wait_until
from tests.netns import garbage
from tests.netns.trial import Trial
from tests.support.live import System

pytestmark = [pytest.mark.netns, pytest.mark.suricata]

Service = Callable[..., Trial]


@pytest.fixture
def noise(lab: Lab, system: System) -> Iterator[Callable[[int, int], None]]:
    """Sends garbage over br1: count, length (0: any).

    Out of br1 itself, where a frame that was sent has passed the capture, or is counted as lost;
    into a port behind which nobody listens.
    """
    sink = lab.namespace("sink")
    lab.attach(sink, "sink0", system.network.bridge)
    sink.run([sys.executable, garbage.__file__, "sink0", "show"])

    def send(count: int, length: int = 0) -> None:
        argv = [sys.executable, garbage.__file__, "br1", str(count), str(length)]
        system.host.run(argv, timeout=600)

    yield send
    with sink.netlink() as netlink:
        [index] = netlink.link_lookup(ifname="sink0")
        netlink.link("del", index=index)


def test_br1_is_deleted_and_made_again(service: Service, lab: Lab, system: System) -> None:
    trial = service()
    before = trial.adds_up()
    ports = port_names(system)
    with system.host.netlink() as netlink:
        [index] = netlink.link_lookup(ifname="br1")
        netlink.link("del", index=index)
    trial.peeltap.wait(lambda status: status["capture"]["state"] == "gone", "br1 missed")
    trial.adds_up()
    system.network.bridge = lab.bridge(system.host, "br1")
    with system.host.netlink() as netlink:
        [master] = netlink.link_lookup(ifname="br1")
        for name in ports:
            [index] = netlink.link_lookup(ifname=name)
            netlink.link("set", index=index, master=master)
    trial.peeltap.wait(lambda status: status["capture"]["state"] == "up", "br1 found")
    trial.sees()
    trial.nothing_lost()
    after = trial.adds_up()
    assert after["capture"]["reopened"] == before["capture"]["reopened"] + 1
    assert after["capture"]["packets"] > before["capture"]["packets"], "nothing began anew"
    assert trial.log_says("br1 is gone; waiting for it")
    assert trial.log_says("br1 is back")


def port_names(system: System) -> list[str]:
    with system.host.netlink() as netlink:
        [master] = netlink.link_lookup(ifname="br1")
        links = netlink.get_links()
        return [
            one.get_attr("IFLA_IFNAME") for one in links if one.get_attr("IFLA_MASTER") == master
        ]


@pytest.mark.parametrize("persistent", [False, True], ids=["passing", "persistent"])
def test_vtap0_is_deleted_from_outside(service: Service, system: System, persistent: bool) -> None:
    trial = service(tap={"persistent": persistent})
    pid = trial.suricata_pid()
    with system.host.netlink() as netlink:
        [index] = netlink.link_lookup(ifname="vtap0")
        netlink.link("del", index=index)
    wait_until(lambda: trial.log_says("vtap0 was made anew"), "another vtap0")
    trial.sees()
    trial.nothing_lost()
    trial.adds_up()
    assert trial.suricata_pid() == pid, "Suricata finds the new one by itself"
    trial.peeltap.stop()
    with system.host.netlink() as netlink:
        assert bool(netlink.link_lookup(ifname="vtap0")) == persistent
        for index in netlink.link_lookup(ifname="vtap0"):
            netlink.link("del", index=index)


def test_a_million_garbage_frames(service: Service, noise: Callable[..., None]) -> None:
    trial = service()
    before = trial.counted()
    noise(1_000_000)
    trial.sees()
    trial.nothing_lost()
    assert trial.counted() - before >= 1_000_000
    assert trial.adds_up()["oddities"]


def test_the_capture_ring_runs_over(service: Service, noise: Callable[..., None]) -> None:
    """The service stands still while more comes than its ring holds."""
    trial = service(capture={"ring_mb": 1})
    before = trial.adds_up()
    counted = trial.counted()
    trial.peeltap.send(signal.SIGSTOP)
    noise(20_000, 1400)
    trial.peeltap.send(signal.SIGCONT)
    status = trial.peeltap.wait(
        lambda status: status["capture"]["kernel_drops"] > before["capture"]["kernel_drops"],
        "the loss, counted",
    )
    assert status["capture"]["freezes"] > before["capture"]["freezes"]
    trial.sees()
    trial.nothing_lost()
    assert trial.counted() - counted >= 20_000
    trial.adds_up()
