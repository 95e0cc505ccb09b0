"""The control socket: one JSON object a line in, one out.

    {"command": "status"}   ->  {"ok": true, ...}
    anything else wrong     ->  {"ok": false, "error": "a sentence"}

    ControlServer   the service's side: no thread of its own, no call that waits
    Client          the side of `peeltap status` and whoever else asks

The socket is its user's alone (0600), or also a group's (0660). Whoever may connect is still not
trusted with memory or time: lines, clients and unread answers are bounded, silence ends a client.
"""

from __future__ import annotations

import contextlib
import grp
import os
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

MAX_CLIENTS: Final = 16
MAX_REQUEST: Final = 4096
MAX_UNREAD: Final = 1 << 20
SILENT_SECONDS: Final = 300.0
MAX_ANSWER: Final = 8 << 20

# sun_path of sockaddr_un holds 108 bytes with the NUL behind them.
MAX_PATH: Final = 107

Answer = dict[str, Any]


class ControlError(Exception):
    """The socket cannot be made, or nobody answers on it; one sentence.

    ControlError
    ├── NotRunningError  there is no service behind the socket
    └── RefusedError     the service said no
    """


class NotRunningError(ControlError):
    """There is no service behind the socket."""


class RefusedError(ControlError):
    """The service said no."""


class ControlServer:
    """Answers on the socket at `path`, within the loop that owns `selector`.

    `commands` maps a command's word to what answers it; what that returns is the answer. `now` is
    the time, in seconds of any clock, from which `tick` goes on. The loop calls the data of each
    ready key, `tick` from time to time, and `close` at the end. `ours`: the keys by which two
    services on one machine are kept apart.
    """

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Callable[[], Answer]],
        selector: selectors.BaseSelector,
        *,
        group: str | None = None,
        now: float = 0.0,
        ours: str = "control.socket, state.directory and tap.name",
    ) -> None:
        self._path = path
        self._commands = commands
        self._selector = selector
        self._clients: dict[socket.socket, _Client] = {}
        self._now = now
        self._socket = _listen(path, group, ours)
        self._mark = _mark(path)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def tick(self, now: float) -> None:
        """Tell the time; ends clients that have been silent for too long."""
        self._now = now
        for client in list(self._clients.values()):
            if now - client.last > SILENT_SECONDS:
                self._end(client)

    def close(self) -> None:
        """End all clients and remove the socket, if it is still ours."""
        for client in list(self._clients.values()):
            # The last answer, as far as it can be had without waiting.
            with contextlib.suppress(OSError):
                client.socket.send(client.answers)
            self._end(client)
        self._selector.unregister(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            if _mark(self._path) == self._mark:
                self._path.unlink()

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS:
            # Whoever has been silent for longest is the likeliest to have been forgotten.
            self._end(min(self._clients.values(), key=lambda client: client.last))
        connection.setblocking(False)
        client = _Client(connection, self._now)
        self._clients[connection] = client
        self._selector.register(
            connection, selectors.EVENT_READ, lambda ready: self._serve(client, ready)
        )

    def _serve(self, client: _Client, events: int) -> None:
        if client.socket not in self._clients:
            # It had to make room in the same turn of the loop, after the loop saw it ready.
            return
        try:
            if events & selectors.EVENT_READ and not self._read(client):
                self._end(client)
                return
            if client.answers:
                del client.answers[: client.socket.send(client.answers)]
        except BlockingIOError:
            pass
        except OSError:
            self._end(client)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.answers else 0)
        key = self._selector.get_key(client.socket)
        if key.events != wanted:
            self._selector.modify(client.socket, wanted, key.data)

    def _read(self, client: _Client) -> bool:
        """Take what came and answer whole lines; False ends the client."""
        data = client.socket.recv(MAX_REQUEST)
        if not data:
            return False
        client.last = self._now
        client.asked += data
        *lines, rest = bytes(client.asked).split(b"\n")
        client.asked = bytearray(rest)
        for line in lines:
            if len(client.answers) > MAX_UNREAD:
                return False
            client.answers += orjson.dumps(self._answer(line), default=str) + b"\n"
        return len(rest) <= MAX_REQUEST

    def _answer(self, line: bytes) -> Answer:
        try:
            asked = orjson.loads(line)
        except orjson.JSONDecodeError:
            return _refusal('a request is one JSON object a line: {"command": "status"}')
        word = asked.get("command") if isinstance(asked, dict) else None
        command = self._commands.get(word) if isinstance(word, str) else None
        if command is None:
            return _refusal(f"no such command; there are: {', '.join(self._commands)}")
        try:
            return {"ok": True, **command()}
        except Exception as error:
            # A part that cannot tell its state must not end the service that others rely on.
            return _refusal(f"{word} failed: {type(error).__name__}: {error}")

    def _end(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        del self._clients[client.socket]
        client.socket.close()


class _Client:
    """One connection: what was asked and not yet answered, what was answered and not yet read."""

    def __init__(self, connection: socket.socket, now: float) -> None:
        self.socket = connection
        self.last = now
        self.asked = bytearray()
        self.answers = bytearray()


def _refusal(text: str) -> Answer:
    return {"ok": False, "error": text}


def _mark(path: Path) -> tuple[int, int]:
    """What tells one file from another that later takes its name."""
    found = path.lstat()
    return found.st_dev, found.st_ino


def _listen(path: Path, group: str | None, ours: str) -> socket.socket:
    if len(os.fsencode(path)) > MAX_PATH:
        raise ControlError(f"{path}: a socket's name has at most {MAX_PATH} bytes")
    _remove_stale(path, ours)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The mode has to be right from the first moment.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        if group is not None:
            try:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
            except KeyError:
                raise ControlError(f"control.group: there is no group {group!r}") from None
            path.chmod(0o660)
        listener.listen(MAX_CLIENTS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ControlError(f"{path}: no control socket can be made: {error.strerror}") from error
    except ControlError:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    return listener


def _remove_stale(path: Path, ours: str) -> None:
    """Remove what a killed service left; raises ControlError where one is alive."""
    try:
        if not path.is_socket():
            if path.exists():
                raise ControlError(
                    f"{path}: is there and is no socket; name another control.socket"
                )
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ControlError(f"{path}: cannot be used: {error.strerror}") from error
    else:
        raise ControlError(
            f"{path}: another peeltap answers there; stop it, or give each its own {ours}"
        )


class Client:
    """One connection to a running service; raises ControlError and its kinds."""

    def __init__(self, path: Path, seconds: float = 5.0) -> None:
        self._path = path
        self._unread = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            self._socket.close()
            raise NotRunningError(
                f"no service answers on {path}: start it with peeltap run --config FILE (systemctl"
                " start peeltap), or name its socket with --socket; workers are asked with"
                " --workers --config FILE"
            ) from error
        except PermissionError as error:
            self._socket.close()
            raise ControlError(
                f"{path} is not yours to use: ask as root or as the service's user, or let a group"
                " in with control: {group: NAME}"
            ) from error
        except OSError as error:
            self._socket.close()
            raise ControlError(f"{path}: {error.strerror or error}") from error

    def ask(self, command: str) -> Answer:
        """Give one command's answer."""
        try:
            self._socket.sendall(orjson.dumps({"command": command}) + b"\n")
            answer = orjson.loads(self._line())
        except TimeoutError:
            raise ControlError(f"the service behind {self._path} does not answer") from None
        except OSError as error:
            raise NotRunningError(f"the service behind {self._path} has ended") from error
        except orjson.JSONDecodeError as error:
            raise ControlError(f"what answers on {self._path} is no peeltap") from error
        if not isinstance(answer, dict) or not answer.get("ok"):
            said = answer.get("error") if isinstance(answer, dict) else None
            raise RefusedError(str(said or f"what answers on {self._path} is no peeltap"))
        return answer

    def _line(self) -> bytes:
        while b"\n" not in self._unread:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            self._unread += data
            if len(self._unread) > MAX_ANSWER:
                raise ControlError(f"what answers on {self._path} is no peeltap")
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread = bytearray(rest)
        return line

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
