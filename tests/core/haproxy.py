"""A real HAProxy on loopback, one listener for each way of sending or accepting a header.

A test names a listener and gets both ends of one connection that runs through it: ``client`` is
what the attacker holds, ``server`` is what the gateway accepts, header first. Listening sockets are
made here and handed over, so no port is guessed and nothing has to be waited for.
"""

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

TIMEOUT = 60.0

CONFIG = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 20s
    timeout server 20s
"""


@dataclass(frozen=True)
class Leg:
    """How one listener takes connections and passes them on."""

    bind: str = ""
    server: str = ""
    host: str = "127.0.0.1"
    extra: str = ""


LEGS = {
    "v1": Leg(server="send-proxy"),
    "v1-ipv6": Leg(server="send-proxy", host="::1"),
    "v1-unix": Leg(server="send-proxy", host="unix"),
    "v1-dual": Leg(server="send-proxy", host="::"),
    "v2": Leg(server="send-proxy-v2"),
    "v2-ipv6": Leg(server="send-proxy-v2", host="::1"),
    "v2-unix": Leg(server="send-proxy-v2", host="unix"),
    "v2-dual": Leg(server="send-proxy-v2", host="::"),
    "v2-crc32c": Leg(server="send-proxy-v2 proxy-v2-options crc32c"),
    "v2-unique-id": Leg(
        server="send-proxy-v2 proxy-v2-options crc32c,unique-id",
        extra="unique-id-format %ci:%cp",
    ),
    "v2-ssl-plain": Leg(server="send-proxy-v2-ssl"),
    "v2-ssl": Leg(
        bind="ssl crt {folder}/server.pem ca-file {folder}/ca.pem verify optional alpn h2,http/1.1",
        server="send-proxy-v2-ssl-cn proxy-v2-options "
        "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
        extra="unique-id-format %ci:%cp",
    ),
    "v2-check": Leg(server="send-proxy-v2 check check-send-proxy inter 1s"),
    "accept": Leg(bind="accept-proxy", server="send-proxy-v2"),
    "accept-send-v1": Leg(bind="accept-proxy", server="send-proxy"),
}


class HAProxy:
    """The running process with its listeners."""

    def __init__(
        self,
        listeners: dict[str, socket.socket],
        servers: dict[str, socket.socket],
        ca: trustme.CA,
        folder: Path,
    ) -> None:
        self._listeners = listeners
        self._servers = servers
        self.ca = ca
        self.folder = folder

    @contextlib.contextmanager
    def through(
        self, leg: str, *, source: str | None = None
    ) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Connect through ``leg``; give the attacker's end and the gateway's end."""
        listener = self._listeners[leg]
        address = listener.getsockname()
        family = listener.family
        if source is not None:
            family, address = socket.AF_INET, (source, address[1])
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT)
            client.connect(address)
            server, _ = self._servers[leg].accept()
            with server:
                server.settimeout(TIMEOUT)
                yield client, server

    def connect(self, leg: str) -> socket.socket:
        """Connect to ``leg`` without waiting for what comes out behind it."""
        client = socket.create_connection(self._listeners[leg].getsockname()[:2], TIMEOUT)
        client.settimeout(TIMEOUT)
        return client

    def accepted(self, leg: str) -> socket.socket:
        """The next connection that comes out behind ``leg``."""
        server, _ = self._servers[leg].accept()
        server.settimeout(TIMEOUT)
        return server

    def is_silent(self, leg: str) -> bool:
        """Whether no connection waits behind ``leg``."""
        self._servers[leg].setblocking(False)
        try:
            self._servers[leg].accept()[0].close()
        except BlockingIOError:
            return True
        finally:
            self._servers[leg].settimeout(TIMEOUT)
        return False

    def tls(self, client: socket.socket, name: str, *, identity: bool) -> ssl.SSLSocket:
        """Speak TLS on ``client`` and ask for ``name``; show a certificate if ``identity``."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        context.set_alpn_protocols(["h2"])
        if identity:
            leaf = self.ca.issue_cert(common_name="attacker.example")
            leaf.configure_cert(context)
        return context.wrap_socket(client, server_hostname=name)


def _listen(host: str, folder: Path, name: str) -> socket.socket:
    family = {"unix": socket.AF_UNIX, "127.0.0.1": socket.AF_INET}.get(host, socket.AF_INET6)
    listener = socket.socket(family, socket.SOCK_STREAM)
    if host == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(str(folder / name) if host == "unix" else (host, 0))
    listener.listen(16)
    listener.settimeout(TIMEOUT)
    return listener


@contextlib.contextmanager
def running(folder: Path) -> Iterator[HAProxy]:
    """Start HAProxy in the foreground, with every listener of ``LEGS``; end it afterwards."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.fail("haproxy is not installed: run make setup")
    ca = trustme.CA()
    leaf = ca.issue_cert("decoy.example")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))

    with contextlib.ExitStack() as stack:
        listeners, servers, config = {}, {}, CONFIG
        for name, leg in LEGS.items():
            listeners[name] = stack.enter_context(_listen(leg.host, folder, name))
            servers[name] = stack.enter_context(_listen("127.0.0.1", folder, name))
            port = servers[name].getsockname()[1]
            bind = leg.bind.format(folder=folder)
            config += f"\nlisten {name}\n    bind fd@{listeners[name].fileno()} {bind}\n"
            config += f"    server gateway 127.0.0.1:{port} {leg.server}\n"
            config += f"    {leg.extra}\n" if leg.extra else ""
        path = folder / "haproxy.cfg"
        path.write_text(config)
        process = subprocess.Popen(
            [program, "-q", "-db", "-f", str(path)],
            pass_fds=[listener.fileno() for listener in listeners.values()],
        )
        try:
            yield HAProxy(listeners, servers, ca, folder)
            assert process.poll() is None, f"haproxy ended with {process.returncode}"
        finally:
            process.kill()
            process.wait()
