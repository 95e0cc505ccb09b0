"""EVE from unix sockets: we listen, Suricata connects (`filetype: unix_stream`, `unix_dgram`).

Suricata reconnects by itself when we come back, and drops events while we are not there. What was
received and not yet written is lost with the process: there is nothing to commit.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from ..enrich import MAX_LINE_BYTES
from .source import Batch, SourceError

# Suricata has one connection for each thread at most.
MAX_CLIENTS: Final = 64

# Above net.core.wmem_max a sender's own limit decides; Linux takes no larger datagram than that.
MAX_DATAGRAM_BYTES: Final = 1 << 20

# What the kernel holds for us while the relay is busy; it gives what net.core.rmem_max allows.
_RECEIVE_BUFFER: Final = 8 << 20

Kind = Literal["stream", "dgram"]


class _Client:
    """One connection: its unfinished line."""

    __slots__ = ("partial", "partial_bytes", "skipping")

    def __init__(self) -> None:
        self.partial: list[bytes] = []
        self.partial_bytes = 0
        self.skipping = False


class _Listening:
    """A socket file of our own: made, guarded and removed."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path = path
        self.kind = kind
        self._type = socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM
        self._inode = -1

    def open(self) -> socket.socket:
        """Raises SourceError."""
        self._clear_stale()
        listening = socket.socket(socket.AF_UNIX, self._type)
        try:
            listening.setblocking(False)
            # A umask is the whole process's; the file takes this mode when it is bound.
            os.fchmod(listening.fileno(), 0o600)
            listening.bind(str(self.path))
            self.path.chmod(0o600)
            if self.kind == "stream":
                listening.listen(MAX_CLIENTS)
            else:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._inode = self.path.stat().st_ino
        except OSError as error:
            listening.close()
            raise SourceError(
                f"{self.path} cannot be listened on ({error.strerror or error}):"
                " its directory must exist and be writable, and the path be under 108 bytes"
            ) from error
        return listening

    def _clear_stale(self) -> None:
        """Remove a socket file on which nobody listens any more. Raises SourceError."""
        try:
            mode = self.path.lstat().st_mode
        except OSError:
            return
        if not stat.S_ISSOCK(mode):
            raise SourceError(f"{self.path} is there and no socket: name another path")
        with socket.socket(socket.AF_UNIX, self._type) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    self.path.unlink()
                return
            except OSError as error:
                raise SourceError(
                    f"{self.path} is in use ({error.strerror}): name another path"
                ) from error
        raise SourceError(
            f"{self.path} is in use by another process: stop that one, or name another path"
        )

    def remove(self) -> None:
        """Remove the file, if it is still ours."""
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()


class UnixStreamSource:
    """Listens on a unix stream socket; several senders at a time, each with its own lines."""

    def __init__(self, path: Path) -> None:
        self._place = _Listening(path, "stream")
        self._selector = selectors.DefaultSelector()
        self._listening: socket.socket | None = None
        self._clients: dict[int, tuple[socket.socket, _Client]] = {}
        self.connections = 0
        self.too_long = 0
        self.cut = 0

    @property
    def name(self) -> str:
        """The socket's path."""
        return str(self._place.path)

    @property
    def rereads(self) -> bool:
        """See Source: what was received cannot be asked for again."""
        return False

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """See Source."""
        if self._listening is None:
            self._listening = self._place.open()
            self._selector.register(self._listening, selectors.EVENT_READ)
        lines: list[bytes] = []
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listening:
                self._accept(self._listening)
                continue
            connection, client = self._clients[key.fd]
            try:
                data = connection.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._drop(connection, client)
            elif whole := self._take(client, data):
                lines.append(whole)
        return Batch(b"".join(lines), None) if lines else None

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        self._clients[connection.fileno()] = connection, _Client()
        self._selector.register(connection, selectors.EVENT_READ)
        self.connections += 1

    def _drop(self, connection: socket.socket, client: _Client) -> None:
        # A line that its writer did not finish is none.
        self.cut += client.partial_bytes > 0
        self._selector.unregister(connection)
        del self._clients[connection.fileno()]
        connection.close()

    def _take(self, client: _Client, data: bytes) -> bytes:
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._keep(client, data)
            return b""
        lines = data[:cut]
        if client.skipping:
            lines = lines[lines.index(b"\n") + 1 :]
        elif client.partial:
            lines = b"".join(client.partial) + lines
        client.partial, client.partial_bytes, client.skipping = [], 0, False
        if cut < len(data):
            self._keep(client, data[cut:])
        return lines

    def _keep(self, client: _Client, piece: bytes) -> None:
        if client.skipping:
            return
        client.partial.append(piece)
        client.partial_bytes += len(piece)
        if client.partial_bytes > MAX_LINE_BYTES:
            self.too_long += 1
            client.partial, client.partial_bytes, client.skipping = [], 0, True

    def look(self) -> None:
        """Nothing: what comes waits in the kernel, as far as it has room."""

    def commit(self, tokens: Sequence[object]) -> None:
        """Nothing: what was received cannot be asked for again."""

    def status(self) -> dict[str, Any]:
        """See Source."""
        return {
            "kind": "unix_stream",
            "path": self.name,
            "backlog": None,
            "clients": len(self._clients),
            "connections": self.connections,
            "too_long": self.too_long,
            "cut": self.cut,
        }

    def close(self) -> None:
        """Close all connections and remove the socket."""
        for connection, _ in self._clients.values():
            connection.close()
        self._clients.clear()
        self._selector.close()
        if self._listening is not None:
            self._listening.close()
            self._place.remove()


class UnixDgramSource:
    """Listens on a unix datagram socket; each datagram is one event."""

    def __init__(self, path: Path, *, max_datagram: int = MAX_DATAGRAM_BYTES) -> None:
        self._place = _Listening(path, "dgram")
        self._listening: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(max_datagram)
        self.datagrams = 0
        self.truncated = 0

    @property
    def name(self) -> str:
        """The socket's path."""
        return str(self._place.path)

    @property
    def rereads(self) -> bool:
        """See Source: what was received cannot be asked for again."""
        return False

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """See Source; a cut datagram is counted and left out."""
        if self._listening is None:
            self._listening = self._place.open()
            self._selector.register(self._listening, selectors.EVENT_READ)
        if not self._selector.select(timeout):
            return None
        lines: list[bytes] = []
        size = 0
        while size < max_bytes:
            try:
                length, _, flags, _ = self._listening.recvmsg_into([self._buffer])
            except BlockingIOError:
                break
            except OSError as error:
                raise SourceError(f"{self.name} cannot be read ({error.strerror})") from error
            self.datagrams += 1
            size += length + 1
            if flags & socket.MSG_TRUNC:
                self.truncated += 1
                continue
            line = bytes(self._buffer[:length])
            lines.append(line if line.endswith(b"\n") else line + b"\n")
        return Batch(b"".join(lines), None) if lines else None

    def look(self) -> None:
        """Nothing: what comes waits in the kernel, as far as it has room."""

    def commit(self, tokens: Sequence[object]) -> None:
        """Nothing: what was received cannot be asked for again."""

    def status(self) -> dict[str, Any]:
        """See Source."""
        return {
            "kind": "unix_dgram",
            "path": self.name,
            "backlog": None,
            "datagrams": self.datagrams,
            "truncated": self.truncated,
        }

    def close(self) -> None:
        """Close the socket and remove it."""
        self._selector.close()
        if self._listening is not None:
            self._listening.close()
            self._place.remove()
