"""What the service manager hears, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.notify import Notifier, Pulse


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(60)
        yield path, listener


def heard(listener: socket.socket) -> list[str]:
    return listener.recv(4096).decode().split("\n")


def test_a_life_as_the_manager_hears_it(manager: tuple[str, socket.socket]) -> None:
    path, listener = manager
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000", "HOME": "/"}
    notifier = Notifier.from_environment(environment)
    # Suricata can speak to a manager, too; it must not do so in our name.
    assert environment == {"HOME": "/"}
    assert notifier.watchdog_seconds == 60.0

    notifier.ready("br1 up")
    assert heard(listener) == ["READY=1", "STATUS=br1 up"]
    notifier.status("br1 up")
    notifier.status("br1\ngone")
    assert heard(listener) == ["STATUS=br1 gone"]
    notifier.alive(100.0)
    assert heard(listener) == ["WATCHDOG=1"]
    notifier.alive(114.9)
    notifier.alive(115.0)
    assert heard(listener) == ["WATCHDOG=1"]
    notifier.stopping("SIGTERM")
    assert heard(listener) == ["STOPPING=1", "STATUS=SIGTERM"]


def test_an_abstract_socket() -> None:
    name = f"peeltap-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(60)
        Notifier(f"@{name}").ready("up")
        assert heard(listener) == ["READY=1", "STATUS=up"]


@pytest.mark.parametrize("path", [None, "/absent/notify"])
def test_without_a_manager_nothing_happens(path: str | None) -> None:
    notifier = Notifier(path, 60.0)
    notifier.ready("up")
    notifier.alive(0.0)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "5000000"}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_that_is_meant_for_us(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert Notifier.from_environment(environment).watchdog_seconds == seconds


def test_a_thread_without_a_sign_of_life_is_named() -> None:
    pulse = Pulse()
    assert pulse.silent(0.0) == []
    pulse.beat("datapath-0", 0.0)
    pulse.beat("relay", 0.0)
    assert pulse.silent(15.0) == []
    pulse.beat("relay", 10.0)
    assert pulse.silent(15.1) == ["datapath-0"]
    pulse.end("datapath-0")
    assert pulse.silent(15.1) == []
