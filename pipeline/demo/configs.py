"""Configurations of the real programs that stand as proxies and decoys, as text.

The demo and the recordings of `fixtures` run the same programs, and write their files from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from diversion.proxy.addresses import Ends, show_ends


class Listen(NamedTuple):
    """One `listen` section of HAProxy: where it accepts, where it goes, options of both lines."""

    at: Ends
    to: Ends
    bind: str = ""
    server: str = ""


def haproxy(listens: Iterable[Listen], log_format: str, options: Sequence[str] = ()) -> str:
    """HAProxy as an L4 proxy; `options` are further lines of its `defaults`."""
    lines = [
        "global",
        "  log stdout format raw local0",
        "  maxconn 200",
        "  nbthread 1",
        "defaults",
        "  mode tcp",
        "  log global",
        f'  log-format "{log_format}"',
        # On a busy machine a conversation may be silent for long.
        "  timeout connect 30s",
        "  timeout client 10m",
        "  timeout server 10m",
        *(f"  {option}" for option in options),
    ]
    for number, one in enumerate(listens):
        lines += [
            f"listen route{number}",
            f"  bind {show_ends(one.at)} {one.bind}".rstrip(),
            f"  server server{number} {show_ends(one.to)} {one.server}".rstrip(),
        ]
    return "\n".join(lines) + "\n"


def nginx(
    directory: Path, name: str, listens: Iterable[str], *, log: str = "off", main: str = ""
) -> str:
    """nginx serving `www` of the directory, whose certificate it shows.

    `listens` are its `listen` directives' arguments, `main` further directives.
    """
    own = directory / name
    return (
        f"daemon off; worker_processes 1; {main}\n"
        f"pid {own}.pid; error_log stderr info;\n"
        "events { worker_connections 200; }\n"
        "http {\n"
        f"  access_log {log}; sendfile on; default_type text/html; server_tokens off;\n"
        "  keepalive_timeout 10m; client_header_timeout 10m;\n"
        f"  client_body_temp_path {own}-body; proxy_temp_path {own}-p;\n"
        f"  fastcgi_temp_path {own}-f; uwsgi_temp_path {own}-u; scgi_temp_path {own}-s;\n"
        "  server {\n"
        + "".join(f"    listen {listen};\n" for listen in listens)
        + f"    ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;\n"
        f"    root {directory}/www; client_max_body_size 10m;\n"
        # A static file answers no POST; 405 says so, and here it is the page that was asked for.
        "    error_page 405 =200 $uri;\n"
        "  }\n"
        "}\n"
    )


def sshd(directory: Path, listens: Iterable[Ends]) -> str:
    """OpenSSH's server, which lets nobody in."""
    return (
        "".join(f"ListenAddress {show_ends(listen)}\n" for listen in listens)
        + f"HostKey {directory}/host_key\nPidFile none\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication yes\n"
        "AuthorizedKeysFile none\n"
    )
