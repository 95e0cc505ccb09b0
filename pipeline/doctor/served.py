"""What the service serves to others, the page and the metrics: facts in, findings out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.doctor.finding import Finding, fail, ok, warn


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens, or would. `error`: why it cannot, or does not; an errno, 0 if none.

    `topic`: page or metrics; `key`: what names it in the configuration.
    """

    topic: str
    key: str
    listen: str
    error: int = 0
    loopback: bool = True


@dataclass(frozen=True, slots=True)
class Token:
    """Where the page's token is. `error` is a sentence; `file` None where it is in the environment.

    `unreadable`: why the service's `user` cannot read it, a clause; `open_to_all`: whether anybody
    on the machine can.
    """

    place: str
    file: str | None
    user: str
    error: str | None = None
    unreadable: str | None = None
    open_to_all: bool = False


def findings(
    addresses: list[Address], token: Token | None, *, service_runs: bool
) -> Iterator[Finding]:
    """All about them."""
    if token is not None:
        yield from _token(token)
    for one in addresses:
        yield _runs(one) if service_runs else _free(one)
        if not one.loopback:
            yield warn(
                one.topic,
                f"{one.key}: other machines reach {one.listen}, and there is no TLS",
                f"{one.key} on 127.0.0.1, behind ssh -L or a proxy with TLS",
            )


def _free(one: Address) -> Finding:
    if not one.error:
        return ok(one.topic, f"{one.listen} is free to listen on")
    match one.error:
        case errno.EADDRINUSE:
            text, remedy = (
                "another program listens there",
                f"end it (ss -tlnp), or change {one.key}",
            )
        case errno.EADDRNOTAVAIL:
            text = "no interface has this address"
            remedy = f"change {one.key}, or give the address to one"
        case errno.EACCES:
            text, remedy = "ports below 1024 are root's", f"name a higher port under {one.key}"
        case _:
            text, remedy = errno.errorcode.get(one.error, str(one.error)), f"change {one.key}"
    return fail(one.topic, f"{one.key}: {one.listen} cannot be listened on: {text}", remedy)


def _runs(one: Address) -> Finding:
    if not one.error:
        return ok(one.topic, f"{one.listen} is listened on")
    return fail(
        one.topic,
        f"{one.key}: the service runs, and nobody listens on {one.listen}"
        f" ({errno.errorcode.get(one.error, one.error)})",
        "restart it: the file has changed since it was begun; or see its log",
    )


def _token(token: Token) -> Iterator[Finding]:
    topic = "page"
    if token.error is not None and token.file is None and "environment" in token.error:
        yield warn(
            topic,
            f"{token.error}; who asks here may have another environment than the service",
            "name it in the unit (Environment=, LoadCredential=), or take page.token: {file: PATH}",
        )
    elif token.error is not None:
        yield fail(
            topic, token.error, "see page.token; openssl rand -hex 16 makes a token that will do"
        )
    elif token.unreadable is not None:
        yield fail(
            topic,
            f"page.token: {token.file} cannot be read by {token.user}: {token.unreadable}",
            f"chgrp {token.user} {token.file} && chmod 640 {token.file}",
        )
    elif token.open_to_all:
        yield warn(
            topic,
            f"page.token: anybody on this machine may read {token.file}",
            f"chmod 640 {token.file}",
        )
    else:
        yield ok(topic, f"its token is in {token.place}")
