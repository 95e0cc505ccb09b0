"""An encrypted end with a socket's manners: recv, send, shutdown, close; EAGAIN where it waits.

Built on memory buffers instead of `ssl.SSLSocket`: half-closing then is exact. A close_notify is a
FIN; a stream that ends without one was cut, and counts as reset.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

_CHUNK = 64 * 1024


class TlsRefusedError(OSError):
    """The two sides could not agree; the message says on what."""


class TlsUnfinishedError(BlockingIOError):
    """Nothing can be sent before the other side has said its part of the handshake.

    It is not room that is lacking: what ends the waiting is something to read.
    """


def server_context(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    """For the side that accepts: it wants a certificate from `ca` of whoever connects.

    Raises OSError (ssl.SSLError is one) for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    # A ticket is of no use to a connection that is never resumed, and costs its bytes.
    context.num_tickets = 0
    return _with_files(context, certificate, key, ca)


def client_context(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    """For the side that connects: it checks the other's certificate and its name."""
    return _with_files(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, ca)


def _with_files(context: ssl.SSLContext, certificate: str, key: str, ca: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Nothing here is resumed, and a handshake in the middle of a stream is only ever asked for by
    # somebody who wants it to cost.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    for what, path in (("certificate", certificate), ("key", key), ("ca", ca)):
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise OSError(f"tls.{what}: {path}: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise OSError(
            f"tls: {certificate} and {key} are no certificate and key ({error})"
        ) from None
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise OSError(f"tls.ca: {ca} holds no certificate ({error})") from None
    return context


def rest_of(view: memoryview, sent: int) -> memoryview:
    """What is left of bytes that wait; a small rest does not keep the whole, as a view would."""
    rest = view[sent:]
    return rest if 2 * len(rest) > len(view.obj) else memoryview(bytes(rest))  # type: ignore[arg-type]


class TlsEnd:
    """TLS over a non-blocking socket.

    The handshake happens by itself, in whatever is called first; TlsRefusedError if it fails.
    Events tell of what comes to the socket; of what has been taken from there, `holds` does.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> None:
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=server_name
        )
        self._unsent = memoryview(b"")
        self._holds = False
        self._shaken = False
        self._closing = False

    @property
    def socket(self) -> socket.socket:
        """What it is built on."""
        return self._sock

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    @property
    def certificate(self) -> dict[str, Any]:
        """The other side's certificate, as `SSLSocket.getpeercert`; after the first byte."""
        return self._tls.getpeercert() or {}

    @property
    def common_name(self) -> str:
        """The name in the other side's certificate; "" if it has none."""
        for part in self.certificate.get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
        return ""

    @property
    def holds(self) -> bool:
        """Whether there may be something to read though the socket has nothing more."""
        return self._holds

    def recv_into(self, buffer: bytearray | memoryview, size: int) -> int:
        """As of a socket; 0 after a close_notify."""
        while True:
            try:
                if not self._shaken:
                    self._shake()
                got = cast(int, self._tls.read(size, buffer))
            except ssl.SSLWantReadError:
                # A part of a record at most.
                self._holds = False
                self.flush()
                self._feed()
            except ssl.SSLZeroReturnError:
                return 0
            except ssl.SSLEOFError:
                raise ConnectionResetError("cut within TLS") from None
            except ssl.SSLError as error:
                raise self._refused(error) from None
            else:
                self._holds = bool(self._tls.pending() or self._in.pending)
                return got

    def recv(self, size: int) -> bytes:
        """As of a socket."""
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(buffer, size)])

    def send(self, data: bytes | memoryview) -> int:
        """As of a socket; what was taken may still be waiting here for the socket.

        BlockingIOError if the socket has no room; TlsUnfinishedError, which is one too, if the
        handshake waits for the other side.
        """
        self.flush()
        if self._unsent:
            raise BlockingIOError
        while True:
            try:
                if not self._shaken:
                    self._shake()
                taken = self._tls.write(data[:_CHUNK])
                break
            except ssl.SSLWantReadError:
                self.flush()
                try:
                    self._feed()
                except BlockingIOError:
                    raise TlsUnfinishedError from None
            except ssl.SSLError as error:
                raise self._refused(error) from None
        self.flush()
        return taken

    def shutdown(self, _: int = 1) -> None:
        """Say close_notify; what comes from the other side can still be read."""
        self._closing = True
        # It wants the other side's as well, which may come much later.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self.flush()

    def flush(self) -> None:
        """Give the socket what waits for it, as far as it takes it."""
        while True:
            if not self._unsent:
                self._unsent = memoryview(self._out.read())
                if not self._unsent:
                    return
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            self._unsent = rest_of(self._unsent, sent)

    @property
    def shaken(self) -> bool:
        """Whether the handshake is done."""
        return self._shaken

    @property
    def unsent(self) -> bool:
        """Whether encrypted bytes wait for the socket."""
        return bool(self._unsent)

    def setsockopt(self, *arguments: Any) -> None:
        """As of the socket."""
        self._sock.setsockopt(*arguments)

    def getsockopt(self, *arguments: Any) -> Any:
        """As of the socket."""
        return self._sock.getsockopt(*arguments)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _shake(self) -> None:
        self._tls.do_handshake()
        self._shaken = True

    def _feed(self) -> None:
        """Take what the socket has; BlockingIOError if that is nothing."""
        got = self._sock.recv(_CHUNK)
        self._holds = True
        if got:
            self._in.write(got)
        else:
            self._in.write_eof()

    def _refused(self, error: ssl.SSLError) -> TlsRefusedError:
        # What the other side is to be told of it, an alert, goes out before the socket is closed.
        with suppress(OSError):
            self.flush()
        return TlsRefusedError(getattr(error, "verify_message", "") or error.reason or str(error))
