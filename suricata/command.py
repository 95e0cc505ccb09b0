"""Suricata's command socket: JSON requests and answers over a unix stream socket.

    ours                                       Suricata's
    {"version": "0.2"}                         {"return": "OK"}
    {"command": "iface-stat",                  {"return": "OK", "message": {"pkts": 4, ...}}
     "arguments": {"iface": "vtap0"}}          {"return": "NOK", "message": "Unknown command"}

`Dialogue` is the protocol without a socket; `ask` opens one, asks, and closes it. The protocol is
in Suricata's user guide, "Interacting via Unix Socket"; in version 0.2 a newline ends each answer.

    CommandError            one sentence
      NotAnswering          no socket, nobody behind it, or no answer in time
      BadAnswer             what came is not this protocol
      Refused               Suricata said no; the text is its own
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

PROTOCOL_VERSION: Final = "0.2"

MAX_ANSWER: Final = 16 << 20
"""Bytes of one answer; the list of failed rules of a large broken file is the longest."""

MAX_SOCKET_PATH: Final = 107
"""sun_path holds 108 bytes with its final zero (unix(7))."""

# So often a waiting `ask` looks whether it is still wanted.
_SLICE_SECONDS: Final = 0.1


class CommandError(Exception):
    """Suricata could not be asked; one sentence."""


class NotAnswering(CommandError):  # noqa: N818
    """There is no socket, nobody behind it, or no answer in time."""


class BadAnswer(CommandError):  # noqa: N818
    """What came is not this protocol."""


class Refused(CommandError):  # noqa: N818
    """Suricata answered that it will not; the text is its own."""


class Dialogue:
    """One conversation: gives what is to be sent, takes what came, in any pieces."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @staticmethod
    def hello() -> bytes:
        """The first words."""
        return _request({"version": PROTOCOL_VERSION})

    @staticmethod
    def request(command: str, arguments: Mapping[str, Any] | None = None) -> bytes:
        """One command."""
        return _request({"command": command, **({"arguments": arguments} if arguments else {})})

    def feed(self, data: bytes) -> dict[str, Any] | None:
        """The answer if it is whole now, None if more is needed. Raises BadAnswer."""
        self._pending += data
        end = self._pending.find(b"\n", max(0, len(self._pending) - len(data)))
        if end < 0:
            if len(self._pending) > MAX_ANSWER:
                raise BadAnswer(f"its answer is longer than {MAX_ANSWER} bytes")
            return None
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        try:
            answer = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BadAnswer(f"its answer is not JSON: {line[:80]!r}") from error
        if not isinstance(answer, dict) or answer.get("return") not in ("OK", "NOK"):
            raise BadAnswer(f"its answer has no return OK or NOK: {line[:80]!r}")
        return answer

    @staticmethod
    def message(answer: Mapping[str, Any]) -> Any:
        """What an answer says. Raises Refused."""
        said = answer.get("message")
        if answer["return"] != "OK":
            raise Refused(str(said)[:500] if said is not None else "it does not say why")
        return said


def _request(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value) + b"\n"


def ask(
    path: Path,
    command: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout: float = 5.0,
    wanted: Callable[[], bool] = lambda: True,
) -> Any:
    """Ask the Suricata behind the socket at `path` one thing; its answer's message.

    `timeout` is in seconds, for the whole. `wanted` is asked every 0.1 s: once it says no, the
    waiting ends with NotAnswering. Raises CommandError and its kinds.
    """
    deadline = time.monotonic() + timeout
    dialogue = Dialogue()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            # A listener whose queue is full makes even connect wait.
            stream.settimeout(timeout)
            stream.connect(str(path))
            for words in (dialogue.hello(), dialogue.request(command, arguments)):
                stream.sendall(words)
                message = dialogue.message(_answer(stream, dialogue, deadline, wanted, path))
            return message
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotAnswering(f"Suricata does not answer at {path}: {reason}") from error


def _answer(
    stream: socket.socket,
    dialogue: Dialogue,
    deadline: float,
    wanted: Callable[[], bool],
    path: Path,
) -> dict[str, Any]:
    # poll, not select: a service may have more than 1024 files open.
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise NotAnswering(f"Suricata does not answer at {path} in time")
        if not wanted():
            raise NotAnswering(f"Suricata at {path} is not waited for any longer")
        if not poll.poll(min(left, _SLICE_SECONDS) * 1000):
            continue
        data = stream.recv(65536)
        if not data:
            raise NotAnswering(f"Suricata hung up at {path}")
        answer = dialogue.feed(data)
        if answer is not None:
            return answer
