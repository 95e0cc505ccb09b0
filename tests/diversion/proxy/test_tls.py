"""TLS with a socket's manners: half-closing, truncation, refusals; through a real relay."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from diversion.proxy.addresses import Ends
from diversion.proxy.hub import Hub
from diversion.proxy.link import Link
from diversion.proxy.tls import (
    TlsEnd,
    TlsUnfinishedError,
    client_context,
    rest_of,
    server_context,
)
from tests.diversion.running import Accept, read_exactly, reset, running, server


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, gateway1.pem and edge.pem, the latter two with their keys."""
    directory = tmp_path_factory.mktemp("papers")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("gateway1", "edge"):
        issued = ca.issue_cert(f"{name}.example", common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    return directory


def files(papers: Path, name: str) -> tuple[str, str, str]:
    return str(papers / f"{name}.pem"), str(papers / f"{name}.pem"), str(papers / "ca.pem")


def encrypted(papers: Path, to: Ends) -> Accept:
    """Take TLS from the peer and, when it has said something, bring it on in TLS of its own."""
    inside = server_context(*files(papers, "gateway1"))
    outside = client_context(*files(papers, "edge"))

    def then(link: Link, _: object) -> None:
        link.announce(link.peer, ("192.0.2.1", 80))
        onward = link.hub.socket_to(to)
        name = "gateway1.example"
        link.bring(TlsEnd(onward, outside, server_side=False, server_name=name), to, b"HEAD")

    def accept(hub: Hub, sock: socket.socket, peer: Ends) -> None:
        link = Link(hub, TlsEnd(sock, inside, server_side=True), peer)
        link.read_head(lambda stream: (0, None), then)

    return accept


def test_both_sides_encrypted_and_each_direction_ends_by_itself(papers: Path) -> None:
    data = bytes(range(256)) * 8000
    theirs = server_context(*files(papers, "gateway1"))
    ours = client_context(*files(papers, "edge"))
    got: dict[str, bytes] = {}

    def decoy(listening: socket.socket) -> None:
        plain, _ = listening.accept()
        plain.settimeout(60)
        with theirs.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as sock:
            found = b""
            while more := sock.recv(65536):
                found += more
            got["decoy"] = found
            # The question has ended, and the answer is still to come.
            sock.sendall(data)
            sock.unwrap()

    with running() as relay, server() as (listening, to):
        thread = threading.Thread(target=decoy, args=(listening,))
        thread.start()
        at = relay.serve(encrypted(papers, to))
        with (
            socket.create_connection(at, timeout=60) as plain,
            ours.wrap_socket(
                plain, server_hostname="gateway1.example", suppress_ragged_eofs=False
            ) as sock,
        ):
            sock.sendall(data[:1_000_000])
            end_of_writing(sock)
            found = read_all(sock)
        thread.join(60)
        assert relay.line(end="closed")["bytes_to_decoy"] == 1_000_000
    assert got["decoy"] == b"HEAD" + data[:1_000_000]
    assert found == data


def read_all(sock: ssl.SSLSocket) -> bytes:
    """Read up to the close_notify, which Python calls an error after our own."""
    found = b""
    with contextlib.suppress(ssl.SSLZeroReturnError):
        while more := sock.recv(65536):
            found += more
    return found


def end_of_writing(sock: ssl.SSLSocket) -> None:
    """Say close_notify without waiting for the other side's."""
    sock.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        sock.unwrap()
    sock.settimeout(60)


def test_a_stream_that_is_cut_is_no_end(papers: Path) -> None:
    """A FIN without close_notify may be forged; it is passed on as RST."""
    theirs = server_context(*files(papers, "gateway1"))
    ours = client_context(*files(papers, "edge"))
    with running() as relay, server() as (listening, to):
        at = relay.serve(encrypted(papers, to))
        seen: list[object] = []
        connected = threading.Event()

        def decoy() -> None:
            plain, _ = listening.accept()
            plain.settimeout(60)
            with theirs.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as sock:
                assert sock.recv(5) == b"HEADx"
                connected.set()
                try:
                    # Below TLS, which would call an RST an end as well.
                    seen.append(socket.socket.recv(sock, 1))
                except ConnectionResetError as error:
                    seen.append(error)

        thread = threading.Thread(target=decoy)
        thread.start()
        with socket.create_connection(at, timeout=60) as plain:
            sock = ours.wrap_socket(
                plain, server_hostname="gateway1.example", suppress_ragged_eofs=False
            )
            sock.sendall(b"x")
            connected.wait(60)
            socket.socket.shutdown(sock, socket.SHUT_WR)
            relay.line(end="reset_by_peer")
            sock.close()
        thread.join(60)
    assert len(seen) == 1
    assert isinstance(seen[0], ConnectionResetError)


def test_what_is_not_tls_is_refused(papers: Path) -> None:
    with running() as relay, server() as (_, to):
        with socket.create_connection(relay.serve(encrypted(papers, to)), timeout=60) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                plain.makefile("rb").read()
        assert relay.line(end="tls_refused")["why"]


def test_whoever_accepts_and_never_shakes_hands_has_as_long_as_to_connect(papers: Path) -> None:
    ours = client_context(*files(papers, "edge"))
    with running(connect_seconds=1.0) as relay, server() as (_, to):
        sock = socket.create_connection(relay.serve(encrypted(papers, to)), timeout=60)
        with ours.wrap_socket(sock, server_hostname="gateway1.example") as tls:
            tls.sendall(b"x")
            relay.line(end="connect_timeout")


def test_the_other_sides_name_is_checked(papers: Path) -> None:
    theirs = server_context(*files(papers, "edge"))
    with running() as relay, server() as (listening, to):
        at = relay.serve(encrypted(papers, to))
        ours = client_context(*files(papers, "edge"))

        def decoy() -> None:
            plain, _ = listening.accept()
            plain.settimeout(60)
            with pytest.raises(OSError, match=r"."), plain:
                theirs.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False).recv(1)

        thread = threading.Thread(target=decoy)
        thread.start()
        with socket.create_connection(at, timeout=60) as plain:
            sock = ours.wrap_socket(
                plain, server_hostname="gateway1.example", suppress_ragged_eofs=False
            )
            sock.sendall(b"x")
            with pytest.raises(OSError, match=r"."):
                sock.makefile("rb").read()
            sock.close()
        thread.join(60)
        assert "mismatch" in relay.line(end="tls_refused")["why"]


def test_a_reset_below_tls_is_a_reset(papers: Path) -> None:
    ours = client_context(*files(papers, "edge"))
    with running() as relay, server() as (_, to):
        sock = socket.create_connection(relay.serve(encrypted(papers, to)), timeout=60)
        tls = ours.wrap_socket(sock, server_hostname="gateway1.example")
        tls.sendall(b"x")
        reset(tls)
        relay.line(end="reset_by_peer")


@pytest.mark.parametrize(
    ("which", "what"),
    [
        (("gone.pem", "edge.pem", "ca.pem"), "tls.certificate: .*gone.pem: No such file"),
        (("edge.pem", "gone.pem", "ca.pem"), "tls.key: .*gone.pem: No such file"),
        (("edge.pem", "edge.pem", "gone.pem"), "tls.ca: .*gone.pem: No such file"),
        (("ca.pem", "ca.pem", "ca.pem"), "are no certificate and key"),
        (("edge.pem", "gateway1.pem", "ca.pem"), "are no certificate and key"),
        (("edge.pem", "edge.pem", "empty.pem"), "tls.ca: .*empty.pem holds no certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    papers: Path, which: tuple[str, str, str], what: str
) -> None:
    (papers / "empty.pem").touch()
    for make in (server_context, client_context):
        with pytest.raises(OSError, match=what):
            make(*(str(papers / name) for name in which))


@contextlib.contextmanager
def both_ends(papers: Path) -> Iterator[tuple[TlsEnd, TlsEnd]]:
    """Who connects and who accepts, before either has said anything."""
    one, other = socket.socketpair()
    with one, other:
        for sock in (one, other):
            sock.setblocking(False)
        yield (
            TlsEnd(
                one,
                client_context(*files(papers, "edge")),
                server_side=False,
                server_name="gateway1.example",
            ),
            TlsEnd(other, server_context(*files(papers, "gateway1")), server_side=True),
        )


def shake(client: TlsEnd, accepting: TlsEnd) -> None:
    """Bring the handshake to its end, up to what the accepting side has yet to read."""
    while not client.shaken:
        for end in (client, accepting):
            with contextlib.suppress(BlockingIOError):
                end.recv(1)


def flood(end: TlsEnd) -> None:
    while True:
        end.send(b"x" * 65536)


def test_a_send_that_waits_for_the_handshake_is_not_one_that_waits_for_room(papers: Path) -> None:
    with both_ends(papers) as (client, accepting):
        with pytest.raises(TlsUnfinishedError):
            client.send(b"too early")
        shake(client, accepting)
        with pytest.raises(BlockingIOError) as raised:
            flood(client)
        assert not isinstance(raised.value, TlsUnfinishedError)


def test_what_has_been_taken_from_the_socket_and_not_read_is_told(papers: Path) -> None:
    """Of these bytes no event tells: the handshake's end, header and payload come together."""
    with both_ends(papers) as (client, accepting):
        assert not accepting.holds
        shake(client, accepting)
        client.send(b"HEADpayload")
        client.send(b"more")
        assert accepting.recv(4) == b"HEAD"
        assert accepting.holds, "the rest of a record"
        assert accepting.recv(100) == b"payload"
        assert accepting.holds, "another record"
        assert accepting.recv(100) == b"more"
        with pytest.raises(BlockingIOError):
            accepting.recv(100)
        assert not accepting.holds


def test_what_a_send_has_taken_is_told(papers: Path) -> None:
    """Whoever goes on with the handshake to send takes what stands behind it as well."""
    with both_ends(papers) as (client, accepting):
        with pytest.raises(TlsUnfinishedError):
            client.send(b"x")
        with pytest.raises(TlsUnfinishedError):
            accepting.send(b"x")
        client.send(b"HEAD")
        # The client's part of the handshake and its first words lie in the socket together.
        accepting.send(b"x")
        assert accepting.holds
        assert accepting.recv(10) == b"HEAD"


def test_payload_that_tls_holds_goes_on_without_an_event(papers: Path) -> None:
    """What was read between two looks of epoll: it has nothing more to tell."""
    inside = server_context(*files(papers, "gateway1"))
    ours = client_context(*files(papers, "edge"))
    with running() as relay, server() as (listening, to):

        def then(link: Link, _: object) -> None:
            link.announce(link.peer, ("192.0.2.1", 80))
            link.left.readable = False
            link.bring(link.hub.socket_to(to), to)

        def accept(hub: Hub, sock: socket.socket, peer: Ends) -> None:
            link = Link(hub, TlsEnd(sock, inside, server_side=True), peer)
            link.read_head(lambda stream: (4, None) if len(stream) >= 4 else None, then)

        with (
            socket.create_connection(relay.serve(accept), timeout=60) as plain,
            ours.wrap_socket(plain, server_hostname="gateway1.example") as sock,
        ):
            # Longer than what is read at a time while a header is awaited.
            sock.sendall(b"HEAD" + b"payload" * 2000)
            decoy, _ = listening.accept()
            decoy.settimeout(60)
            with decoy:
                assert read_exactly(decoy, 14_000) == b"payload" * 2000


def test_nothing_is_resumed_and_nothing_agreed_anew(papers: Path) -> None:
    for context in (
        server_context(*files(papers, "gateway1")),
        client_context(*files(papers, "edge")),
    ):
        assert context.options & ssl.OP_NO_TICKET
        assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    ("size", "sent", "kept"),
    [(100, 10, 100), (100, 49, 100), (100, 50, 50), (100, 99, 1), (100, 100, 0)],
)
def test_a_small_rest_does_not_keep_the_whole(size: int, sent: int, kept: int) -> None:
    whole = memoryview(bytes(range(size)))
    rest = rest_of(whole, sent)
    assert bytes(rest) == bytes(range(sent, size))
    assert len(rest.obj) == kept  # type: ignore[arg-type]
