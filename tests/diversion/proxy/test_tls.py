"""TLS with a socket's manners: half-closing, truncation, refusals; through a real relay."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from diversion.proxy.addresses import Ends
from diversion.proxy.hub import Hub
from diversion.proxy.link import Link
from diversion.proxy.tls import TlsEnd, client_context, server_context
from tests.diversion.running import Accept, reset, running, server


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
        plain.settimeout(20)
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
            socket.create_connection(at, timeout=20) as plain,
            ours.wrap_socket(
                plain, server_hostname="gateway1.example", suppress_ragged_eofs=False
            ) as sock,
        ):
            sock.sendall(data[:1_000_000])
            end_of_writing(sock)
            found = read_all(sock)
        thread.join(20)
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
    sock.settimeout(20)


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
            plain.settimeout(20)
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
        with socket.create_connection(at, timeout=20) as plain:
            sock = ours.wrap_socket(
                plain, server_hostname="gateway1.example", suppress_ragged_eofs=False
            )
            sock.sendall(b"x")
            connected.wait(20)
            socket.socket.shutdown(sock, socket.SHUT_WR)
            relay.line(end="reset_by_peer")
            sock.close()
        thread.join(20)
    assert len(seen) == 1
    assert isinstance(seen[0], ConnectionResetError)


def test_what_is_not_tls_is_refused(papers: Path) -> None:
    with running() as relay, server() as (_, to):
        with socket.create_connection(relay.serve(encrypted(papers, to)), timeout=20) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                plain.makefile("rb").read()
        assert relay.line(end="tls_refused")["why"]


def test_whoever_accepts_and_never_shakes_hands_has_as_long_as_to_connect(papers: Path) -> None:
    ours = client_context(*files(papers, "edge"))
    with running(connect_seconds=1.0) as relay, server() as (_, to):
        sock = socket.create_connection(relay.serve(encrypted(papers, to)), timeout=20)
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
            plain.settimeout(20)
            with pytest.raises(OSError, match=r"."), plain:
                theirs.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False).recv(1)

        thread = threading.Thread(target=decoy)
        thread.start()
        with socket.create_connection(at, timeout=20) as plain:
            sock = ours.wrap_socket(
                plain, server_hostname="gateway1.example", suppress_ragged_eofs=False
            )
            sock.sendall(b"x")
            with pytest.raises(OSError, match=r"."):
                sock.makefile("rb").read()
            sock.close()
        thread.join(20)
        assert "mismatch" in relay.line(end="tls_refused")["why"]


def test_a_reset_below_tls_is_a_reset(papers: Path) -> None:
    ours = client_context(*files(papers, "edge"))
    with running() as relay, server() as (_, to):
        sock = socket.create_connection(relay.serve(encrypted(papers, to)), timeout=20)
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
