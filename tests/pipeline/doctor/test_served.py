"""Findings on what the service serves, from facts."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from pipeline.doctor.served import Address, Token, findings

PAGE = Address("page", "page.listen", "127.0.0.1:8470")
TOKEN = Token("the file /etc/token", "/etc/token", "peeltap")

BEFORE = [
    (0, "ok", "127.0.0.1:8470 is free to listen on", ""),
    (errno.EADDRINUSE, "fail", "page.listen: 127.0.0.1:8470 cannot be listened on", "ss -tlnp"),
    (errno.EADDRNOTAVAIL, "fail", "no interface has this address", "change page.listen"),
    (errno.EACCES, "fail", "below 1024", "a higher port under page.listen"),
    (errno.ENOMEM, "fail", "ENOMEM", "change page.listen"),
]


@pytest.mark.parametrize(("error", "state", "words", "remedy"), BEFORE)
def test_addresses_before_a_run(error: int, state: str, words: str, remedy: str) -> None:
    [found] = findings([replace(PAGE, error=error)], None, service_runs=False)
    assert (found.topic, found.state) == ("page", state)
    assert words in found.text
    assert remedy in str(found.remedy)


def test_addresses_of_a_service_that_runs() -> None:
    [found] = findings([PAGE], None, service_runs=True)
    assert (found.state, found.text) == ("ok", "127.0.0.1:8470 is listened on")
    [found] = findings([replace(PAGE, error=errno.ECONNREFUSED)], None, service_runs=True)
    assert (found.state, "nobody listens on" in found.text) == ("fail", True)
    assert "ECONNREFUSED" in found.text


def test_an_address_beyond_this_machine() -> None:
    _, found = findings([replace(PAGE, loopback=False)], None, service_runs=True)
    assert (found.state, "no TLS" in found.text) == ("warn", True)


TOKENS: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "ok", "its token is in the file /etc/token", ""),
    ({"error": "page.token: it is short"}, "fail", "it is short", "openssl rand"),
    (
        {"error": "page.token: the environment variable T is empty or absent", "file": None},
        "warn",
        "may have another environment",
        "page.token: {file: PATH}",
    ),
    (
        {"unreadable": "it belongs to root, mode 600"},
        "fail",
        "/etc/token cannot be read by peeltap: it belongs to root, mode 600",
        "chgrp peeltap /etc/token",
    ),
    ({"open_to_all": True}, "warn", "anybody on this machine may read", "chmod 640 /etc/token"),
]


@pytest.mark.parametrize(("facts", "state", "words", "remedy"), TOKENS)
def test_the_token(facts: dict[str, Any], state: str, words: str, remedy: str) -> None:
    [found] = findings([], replace(TOKEN, **facts), service_runs=False)
    assert (found.topic, found.state) == ("page", state)
    assert words in found.text
    assert remedy in str(found.remedy)
