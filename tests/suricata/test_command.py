"""The command socket's protocol, in pieces and with hostile answers; and a server that is real."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from suricata import command
from suricata.command import BadAnswer, Dialogue, NotAnswering, Refused

# what Suricata 7.0.10 sends | what it means
ANSWERS = [
    (b'{"return": "OK"}\n', None),
    (b'{"message": "7.0.10 RELEASE", "return": "OK"}\n', "7.0.10 RELEASE"),
    (b'{"message": 2, "return": "OK"}\n', 2),
    (
        b'{"message": [{"id": 0, "rules_loaded": 1, "rules_failed": 0}], "return": "OK"}\n',
        [{"id": 0, "rules_loaded": 1, "rules_failed": 0}],
    ),
]


@pytest.mark.parametrize(("data", "message"), ANSWERS, ids=["hello", "text", "number", "list"])
def test_answers_whole_byte_by_byte_and_with_a_tail(data: bytes, message: Any) -> None:
    whole = Dialogue().feed(data)
    assert whole is not None
    assert Dialogue.message(whole) == message
    slow = Dialogue()
    assert [slow.feed(bytes([byte])) for byte in data] == [None] * (len(data) - 1) + [whole]
    tail = Dialogue()
    assert tail.feed(data + data[:5]) == whole
    assert tail.feed(data[5:]) == whole


def test_requests() -> None:
    assert Dialogue.hello() == b'{"version":"0.2"}\n'
    assert Dialogue.request("uptime") == b'{"command":"uptime"}\n'
    asked = Dialogue.request("iface-stat", {"iface": "vtap0"})
    assert asked == b'{"command":"iface-stat","arguments":{"iface":"vtap0"}}\n'


def test_refused_in_suricatas_words() -> None:
    answer = Dialogue().feed(b'{"message": "Unknown command", "return": "NOK"}\n')
    assert answer is not None
    with pytest.raises(Refused, match="Unknown command"):
        Dialogue.message(answer)


@pytest.mark.parametrize(
    "data", [b"hello\n", b"[]\n", b'{"return": "MAYBE"}\n', b"\xff\n", b"{}\n", b"[" * 5000 + b"\n"]
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        Dialogue().feed(data)


def test_an_answer_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_ANSWER", 1000)
    dialogue = Dialogue()
    assert [dialogue.feed(b"x") for _ in range(1000)] == [None] * 1000
    with pytest.raises(BadAnswer, match="longer than 1000"):
        dialogue.feed(b"x")


@contextmanager
def served(path: Path, answers: Sequence[bytes]) -> Iterator[list[bytes]]:
    """A server for one client: reads, answers; and again, until it has no more to say."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.settimeout(60)
                for answer in answers:
                    heard.append(client.recv(65536))
                    if answer:
                        client.sendall(answer)
                client.recv(1)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield heard
        server.join(60)


def test_asked_over_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with served(path, [b'{"return": "OK"}\n', b'{"return": "OK", "message": "done"}\n']) as heard:
        assert command.ask(path, "reload-rules", timeout=60) == "done"
    assert heard == [Dialogue.hello(), Dialogue.request("reload-rules")]


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NotAnswering, match="No such file"):
        command.ask(tmp_path / "none", "uptime")
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))
    with pytest.raises(NotAnswering, match="refused"):
        command.ask(stale, "uptime")


def test_a_server_that_says_nothing_or_hangs_up(tmp_path: Path) -> None:
    with served(tmp_path / "slow", [b""]), pytest.raises(NotAnswering, match="in time"):
        command.ask(tmp_path / "slow", "uptime", timeout=0.2)
    with served(tmp_path / "unwanted", [b""]), pytest.raises(NotAnswering, match="any longer"):
        command.ask(tmp_path / "unwanted", "uptime", wanted=lambda: False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "rude"))
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(NotAnswering, match=r"hung up|reset|pipe"):
            command.ask(tmp_path / "rude", "uptime")
