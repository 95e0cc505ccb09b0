"""Reports from a worker to its parent: whole or not at all, and nobody waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.worker_link import Receiver, Sender


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def test_the_last_report_counts(receiver: Receiver) -> None:
    sender = Sender(receiver.other.fileno())
    assert receiver.receive(1.0)
    assert receiver.report is None
    sender.send({"state": "starting"})
    sender.send({"state": "running", "what": b"no json"})
    assert receiver.receive(2.0)
    assert (receiver.report, receiver.at) == ({"state": "running", "what": "b'no json'"}, 2.0)
    sender.close()
    receiver.other.close()
    assert not receiver.receive(3.0)
    assert receiver.at == 2.0


@pytest.mark.parametrize("odd", [b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_report_changes_nothing(receiver: Receiver, odd: bytes) -> None:
    Sender(receiver.other.fileno()).send({"state": "running"})
    receiver.other.send(odd)
    assert receiver.receive(1.0)
    assert receiver.report == {"state": "running"}


def test_a_worker_does_not_wait_for_a_parent_that_does_not_read(receiver: Receiver) -> None:
    sender = Sender(receiver.other.fileno())
    for number in range(5000):
        sender.send({"number": number, "text": "x" * 500})
    assert receiver.receive(1.0)
    assert receiver.report is not None
    assert 0 < receiver.report["number"] < 4999
    sender.send({"number": 5000})
    receiver.receive(2.0)
    assert receiver.report == {"number": 5000}


def test_a_report_that_finds_no_room_goes_without_its_sinks(receiver: Receiver) -> None:
    sinks = {f"sink {number}": {"text": "x" * 1000} for number in range(2000)}
    Sender(receiver.other.fileno()).send({"events": {"lag_seconds": 1, "sinks": sinks}})
    assert receiver.receive(1.0)
    assert receiver.report == {"events": {"lag_seconds": 1, "sinks": {}}}


def test_without_a_parent_nothing_is_said(receiver: Receiver) -> None:
    receiver.socket.close()
    Sender(receiver.other.fileno()).send({"state": "running"})
    reader, writer = os.pipe()
    stream, other = socket.socketpair()
    with stream, other:
        for fd in (reader, writer, stream.fileno(), 1 << 20):
            Sender(fd).send({"state": "running"})
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
    os.close(reader)
    os.close(writer)


def test_it_is_the_standard_input_of_a_child(receiver: Receiver) -> None:
    text = "from pipeline.worker_link import Sender; Sender().send({'state': 'running'})"
    subprocess.run([sys.executable, "-c", text], stdin=receiver.other.fileno(), check=True)
    receiver.other.close()
    assert not receiver.receive(1.0)
    assert receiver.report == {"state": "running"}
