"""Looks at addresses and at the page's token."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from pathlib import Path

import pytest

from pipeline.doctor import served_look
from pipeline.page.settings import PageSettings
from suricata.secrets import Secret


def page(**token: object) -> PageSettings:
    return PageSettings(token=Secret.model_validate(token))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_whether_an_address_is_free_or_in_use(host: str) -> None:
    family = socket.AF_INET6 if host != "127.0.0.1" else socket.AF_INET
    with socket.socket(family) as holder:
        holder.bind((host.strip("[]"), 0))
        listen = f"{host}:{holder.getsockname()[1]}"
        look = served_look.address
        # Nobody answers before it listens.
        assert look("page", "page.listen", listen, service_runs=True).error == errno.ECONNREFUSED
        holder.listen()
        found = look("page", "page.listen", listen, service_runs=False)
        assert (found.error, found.loopback) == (errno.EADDRINUSE, True)
        assert look("page", "page.listen", listen, service_runs=True).error == 0
    assert look("page", "page.listen", listen, service_runs=False).error == 0


def test_addresses_that_are_no_ones_and_everybodys() -> None:
    absent = served_look.address("page", "page.listen", "192.0.2.1:8470", service_runs=False)
    assert (absent.error, absent.loopback) == (errno.EADDRNOTAVAIL, False)
    with socket.create_server(("0.0.0.0", 0)) as holder:
        listen = f"0.0.0.0:{holder.getsockname()[1]}"
        assert served_look.address("page", "page.listen", listen, service_runs=True).error == 0


def test_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    assert f"the file {path} cannot be read" in str(served_look.token(page(file=path), None).error)
    path.write_text("short")
    assert "fewer than 16 characters" in str(served_look.token(page(file=path), None).error)
    path.write_text("0123456789abcdef")
    path.chmod(0o640)
    found = served_look.token(page(file=path), None)
    assert (found.error, found.unreadable, found.open_to_all) == (None, None, False)
    assert (found.file, found.place) == (str(path), f"the file {path}")
    path.chmod(0o644)
    assert served_look.token(page(file=path), None).open_to_all
    monkeypatch.setenv("PEELTAP_TEST_TOKEN", "")
    absent = served_look.token(page(env="PEELTAP_TEST_TOKEN"), "no-such-user")
    assert (absent.file, "environment variable PEELTAP_TEST_TOKEN" in str(absent.error)) == (
        None,
        True,
    )


def test_a_token_that_the_services_user_cannot_read(tmp_path: Path) -> None:
    path, me = tmp_path / "token", pwd.getpwuid(os.geteuid()).pw_name
    path.write_text("0123456789abcdef")
    path.chmod(0o600)
    found = served_look.token(page(file=path), "nobody")
    assert (found.user, found.unreadable) == ("nobody", f"it belongs to {me}, mode 600")
    path.chmod(0o604)
    assert served_look.token(page(file=path), "nobody").unreadable is None
