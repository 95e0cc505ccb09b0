"""Messages between gateway1 and agents: whole, in pieces, and what is none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from diversion.proxy import control
from diversion.proxy.control import Talk
from diversion.proxy.loop import Deadline, Loop
from diversion.proxy.pump import End
from diversion.proxy.tls import TlsUnfinishedError


class Side:
    """One end of a conversation in a loop, and the raw socket of the other."""

    def __init__(self, received: bytes = b"") -> None:
        self.loop = Loop()
        self.messages: list[dict[str, Any]] = []
        self.why: list[str] = []
        ours, self.other = socket.socketpair()
        ours.setblocking(False)
        self.other.settimeout(60)
        self.talk = Talk(
            self.loop,
            End(ours),
            received=received,
            message=self.messages.append,
            closed=self.why.append,
        )

    def run(self) -> None:
        """Let it have what has been sent."""
        self.loop.at(self.loop.now + 0.1, Deadline(lambda now: self.loop.stop()))
        self.loop.run()


@pytest.fixture
def side() -> Iterator[Side]:
    side = Side()
    yield side
    side.talk.close("over")
    side.other.close()
    side.loop.close()


STREAM = b'{"hello":{"name":"edge"}}\n{"report":{}}\n'
MESSAGES = [{"hello": {"name": "edge"}}, {"report": {}}]


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_messages_in_pieces(side: Side, pieces: int) -> None:
    for start in range(0, len(STREAM), pieces):
        side.other.sendall(STREAM[start : start + pieces])
    side.run()
    assert side.messages == MESSAGES
    assert side.why == []


def test_what_was_read_with_the_preface_counts() -> None:
    side = Side(STREAM[:30])
    side.other.sendall(STREAM[30:])
    side.run()
    assert side.messages == MESSAGES


@pytest.mark.parametrize(
    "line", [b"x\n", b"[]\n", b"\xff\n", b'{"a":' + b"[" * 100_000 + b"\n", b"\n"]
)
def test_what_is_no_message_ends_it(side: Side, line: bytes) -> None:
    side.other.sendall(line)
    side.run()
    assert side.why == ["what came is no message"]
    assert not side.talk.is_open
    side.talk.say({"nobody": "hears"})


def test_a_line_without_end_is_bounded(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_LINE", 1000)
    side.other.sendall(b"x" * 2000)
    side.run()
    assert side.why == ["a line is too long"]


def test_who_takes_nothing_is_given_up(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_LINE", 100_000)
    for _ in range(100):
        side.talk.say({"x": "y" * 20_000})
    assert side.why == ["the other side takes nothing any more"]


def test_silence_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SILENCE", 0.5)
    side = Side()
    side.loop.at(side.loop.now + 2, Deadline(lambda now: side.loop.stop()))
    side.loop.run()
    assert side.why == ["the other side said nothing for too long"]


def test_messages_are_lines(side: Side) -> None:
    side.talk.say({"rules": {"text": "a\nb"}})
    [line, rest] = side.other.recv(1000).split(b"\n")
    assert rest == b""
    assert json.loads(line) == {"rules": {"text": "a\nb"}}


def test_the_other_side_ends_it(side: Side) -> None:
    side.other.close()
    side.run()
    assert side.why == ["the other side ended it"]


def test_an_end_of_a_line_is_looked_for_in_what_came_only(side: Side) -> None:
    """A long line in many pieces is neither copied nor searched again for each of them."""

    class Searched(bytearray):
        def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
            searched.append(len(self) - start)
            return super().find(what, start)

    searched: list[int] = []
    side.talk._in = Searched()
    pieces = [b'{"x":"', *[b"y" * 1000] * 50, b'"}\n{"x":1}\n']
    for piece in pieces:
        side.other.sendall(piece)
        side.talk._read()
    side.run()
    assert [len(str(one["x"])) for one in side.messages] == [50_000, 1]
    assert sum(searched) < 2 * sum(map(len, pieces))


def test_who_says_much_is_listened_to_bit_by_bit(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PACE", 2 * control.LEAST)
    side.talk._may = 4 * control.LEAST
    heard: list[dict[str, Any]] = []

    def message(said: dict[str, Any]) -> None:
        heard.append(said)
        if len(heard) == 7:
            side.loop.stop()

    side.talk._message = message
    side.talk._in += b"{}\n" * 7
    side.talk._read()
    assert len(heard) == 4
    side.loop.now += 1
    side.talk._read()
    assert len(heard) == 6
    side.loop.run()
    assert len(heard) == 7
    assert side.why == []


def test_a_handshake_that_ends_while_reading_lets_go_what_has_waited(side: Side) -> None:
    """No event follows on it: what was to be read has been read."""

    class Shaking:
        shaken = False

        def send(self, data: bytes) -> int:
            if not self.shaken:
                raise TlsUnfinishedError
            sent.append(data)
            return len(data)

        def recv(self, _: int) -> bytes:
            self.shaken = True
            raise BlockingIOError

        def flush(self) -> None:
            pass

    sent: list[bytes] = []
    plain, side.talk._end.sock = side.talk._end.sock, Shaking()  # type: ignore[assignment]
    side.talk.raw(b"hello")
    assert sent == []
    side.talk._happened(0)
    assert sent == [b"hello"]
    side.talk._end.sock = plain


def test_a_message_that_could_not_be_handled_is_not_handled_again(side: Side) -> None:
    said: list[dict[str, Any]] = []

    def message(one: dict[str, Any]) -> None:
        said.append(one)
        if len(said) == 1:
            raise LookupError

    side.talk._message = message
    side.talk._in += STREAM
    with pytest.raises(LookupError):
        side.talk._read()
    side.talk._read()
    assert said == MESSAGES
