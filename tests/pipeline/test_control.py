"""The control socket: answers, bounds, and what a killed service leaves."""

import contextlib
import json
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import control
from pipeline.control import Client, ControlError, ControlServer, NotRunningError, RefusedError


class Running:
    """A server in a loop of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.selector = selectors.DefaultSelector()
        self.asked: list[str] = []
        commands = {"status": lambda: {"packets": 7}, "stop": self._stop}
        self.server = ControlServer(path, commands, self.selector)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _stop(self) -> dict[str, Any]:
        self.asked.append("stop")
        return {}

    def _run(self) -> None:
        while not self._end.is_set():
            for key, events in self.selector.select(0.01):
                key.data(events)

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self.server.close()
        self.selector.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path / "control.sock")
    yield server
    server.close()


def raw(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(path))
    return connection


def test_what_is_asked_is_answered(running: Running) -> None:
    with Client(running.path) as one, Client(running.path) as other:
        assert one.ask("status") == {"ok": True, "packets": 7}
        assert other.ask("stop") == {"ok": True}
        assert one.ask("status")["packets"] == 7
    assert running.asked == ["stop"]
    assert running.path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_answered_is_refused(running: Running) -> None:
    with Client(running.path) as client, pytest.raises(RefusedError, match="there are: status"):
        client.ask("explode")


@pytest.mark.parametrize(
    "line", [b"{", b"7", b"[]", b'{"command": []}', b'{"command": null}', b"\xff"]
)
def test_anything_may_be_asked(running: Running, line: bytes) -> None:
    with raw(running.path) as connection:
        connection.sendall(line + b'\n{"command": "status"}\n')
        answers = connection.makefile()
        assert json.loads(answers.readline())["ok"] is False
        assert json.loads(answers.readline())["packets"] == 7


def test_a_question_may_come_in_pieces(running: Running) -> None:
    with raw(running.path) as connection:
        for byte in b'{"command": "status"}\n':
            connection.send(bytes([byte]))
        assert json.loads(connection.makefile().readline()) == {"ok": True, "packets": 7}


# What one client sends without an end, and is ended for.
FLOODS = {
    "a line without an end": b"x" * 4096,
    "questions whose answers it does not read": b'{"command": "status"}\n' * 1000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_its_client_alone(running: Running, flood: bytes) -> None:
    def send_all() -> None:
        for _ in range(1000):
            connection.sendall(flood)

    with raw(running.path) as connection, Client(running.path) as other:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_all()
        assert other.ask("status")["ok"]


def test_one_client_too_many_ends_the_one_silent_for_longest(running: Running) -> None:
    clients = [Client(running.path) for _ in range(control.MAX_CLIENTS + 1)]
    assert clients[-1].ask("status")["ok"]
    answers = 0
    for client in clients:
        with contextlib.suppress(NotRunningError):
            answers += client.ask("status")["ok"]
        client.close()
    assert answers == control.MAX_CLIENTS
    assert running.server.clients <= control.MAX_CLIENTS


def test_a_client_that_makes_room_and_asks_in_the_same_turn_ends_nothing(tmp_path: Path) -> None:
    selector = selectors.DefaultSelector()
    server = ControlServer(tmp_path / "s", {"status": dict}, selector)

    def turn() -> None:
        for key, events in selector.select(1):
            key.data(events)

    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(control.MAX_CLIENTS):
            clients.append(stack.enter_context(raw(tmp_path / "s")))
            turn()
        # Ready together: first the one that comes, then the one that has to go.
        clients.append(stack.enter_context(raw(tmp_path / "s")))
        for client in clients:
            client.sendall(b'{"command": "status"}\n')
        turn()
        turn()
        with pytest.raises(ConnectionResetError):
            clients[0].recv(64)
        assert [client.recv(64) for client in clients[1:]] == [b'{"ok":true}\n'] * 16
    server.close()


def test_silence_ends_a_client(tmp_path: Path) -> None:
    selector = selectors.DefaultSelector()
    server = ControlServer(tmp_path / "s", {}, selector)
    with raw(tmp_path / "s"):
        for key, events in selector.select(1):
            key.data(events)
        assert server.clients == 1
        server.tick(control.SILENT_SECONDS)
        assert server.clients == 1
        server.tick(control.SILENT_SECONDS + 1)
        assert server.clients == 0
    server.close()
    assert not (tmp_path / "s").exists()


def test_what_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = Running(path)
    with Client(path) as client:
        assert client.ask("status")["ok"]
    server.close()


def test_a_service_that_runs_is_not_replaced(running: Running) -> None:
    with pytest.raises(ControlError, match="another peeltap answers there"):
        ControlServer(running.path, {}, running.selector)
    with Client(running.path) as client:
        assert client.ask("status")["ok"]


def test_a_socket_that_somebody_else_has_made_since_is_left(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = Running(path)
    path.unlink()
    path.write_text("mine")
    server.close()
    assert path.read_text() == "mine"


MISTAKES = {
    "a file": (lambda path: path.write_text("x"), "is there and is no socket"),
    "a directory that is not there": (lambda path: path.parent.rmdir(), "No such file"),
}


@pytest.mark.parametrize(("make", "text"), MISTAKES.values(), ids=MISTAKES)
def test_where_no_socket_can_be(tmp_path: Path, make: Any, text: str) -> None:
    path = tmp_path / "run" / "control.sock"
    path.parent.mkdir()
    make(path)
    with selectors.DefaultSelector() as selector, pytest.raises(ControlError, match=text):
        ControlServer(path, {}, selector)


def test_a_name_too_long_for_a_socket(tmp_path: Path) -> None:
    with selectors.DefaultSelector() as selector, pytest.raises(ControlError, match="at most 107"):
        ControlServer(tmp_path / ("x" * 200), {}, selector)


def test_a_group_that_is_not_there_leaves_no_socket(tmp_path: Path) -> None:
    with (
        selectors.DefaultSelector() as selector,
        pytest.raises(ControlError, match="no group 'nobodys'"),
    ):
        ControlServer(tmp_path / "s", {}, selector, group="nobodys")
    assert list(tmp_path.iterdir()) == []


def test_a_group_is_let_in(tmp_path: Path) -> None:
    import grp

    group = grp.getgrgid(os.getgid())
    with selectors.DefaultSelector() as selector:
        server = ControlServer(tmp_path / "s", {}, selector, group=group.gr_name)
        found = (tmp_path / "s").stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, group.gr_gid)
        server.close()


def test_without_a_service_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="start it with peeltap run"):
        Client(tmp_path / "absent")


def test_what_is_no_service_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with Client(path) as client:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"hello\n")
                with pytest.raises(ControlError, match="is no peeltap"):
                    client.ask("status")
