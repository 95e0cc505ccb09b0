"""Who may see the page: a token opens it, a cookie keeps it open; and under which names.

The token is in the configuration's secret and nowhere else. Who gives it gets a key of 256 random
bits, in a cookie; here only the key's hash is kept. A token that has changed ends all that were let
in by the one before.

A page on loopback can be asked for by any web site that its user visits, by a name of that site's
that leads to 127.0.0.1 (DNS rebinding). So the name that is asked for must be an address, which no
name server can give away, or one that was configured.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from suricata.secrets import Secret, SecretError

SHORTEST_TOKEN: Final = 16
KEY_SECONDS: Final = 12 * 3600
KEYS: Final = 64


class DoorError(ValueError):
    """The token cannot be used; one sentence, with nothing of the token in it."""


class Door:
    """Lets in who knows what `token` holds. Raises DoorError where it holds none that will do."""

    def __init__(
        self,
        token: Secret,
        names: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = token
        self._names = {"localhost", *names}
        self._clock = clock
        # By hash; the moment at which each ends. The oldest is first.
        self._keys: OrderedDict[bytes, float] = OrderedDict()
        self._token = _hash(_read(token))

    def enter(self, given: str) -> str | None:
        """The key for who gave the token, None for anybody else. Raises DoorError."""
        self.look()
        if not hmac.compare_digest(_hash(given), self._token):
            return None
        key = secrets.token_urlsafe(32)
        self._keys[_hash(key)] = self._clock() + KEY_SECONDS
        while len(self._keys) > KEYS:
            self._keys.popitem(last=False)
        return key

    def knows(self, key: str | None) -> bool:
        """Whether `key` was given out and still counts."""
        if key is None:
            return False
        ends = self._keys.get(_hash(key))
        return ends is not None and self._clock() < ends

    def leave(self, key: str | None) -> None:
        """The key counts no longer."""
        if key is not None:
            self._keys.pop(_hash(key), None)

    def look(self) -> None:
        """Read the token as it is now; another one ends all keys. Raises DoorError."""
        token = _hash(_read(self._secret))
        if not hmac.compare_digest(token, self._token):
            self._token = token
            self._keys.clear()

    def is_name_of_ours(self, host: str | None) -> bool:
        """Whether a request's `Host` is an address, localhost, or a name that was configured."""
        name = _host(host)
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_from_us(self, origin: str | None, site: str | None, host: str | None) -> bool:
        """Whether a form was sent by a page of ours: `Origin`, `Sec-Fetch-Site` and `Host`.

        Who sends neither of the first two is no browser, and cannot be led to send anything.
        """
        if site is not None and site not in ("same-origin", "none"):
            return False
        return origin is None or urlsplit(origin).netloc.lower() == (host or "").lower()


def _read(secret: Secret) -> str:
    try:
        token = secret.read()
    except SecretError as error:
        raise DoorError(f"page.token: {error}") from None
    if len(token) < SHORTEST_TOKEN:
        raise DoorError(
            f"page.token: {secret.place} holds fewer than {SHORTEST_TOKEN} characters; make one"
            " that nobody guesses: openssl rand -hex 16"
        )
    return token


def _hash(text: str) -> bytes:
    # Of equal length whatever was given, so that comparing tells nothing.
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _host(text: str | None) -> str | None:
    """The name in a `Host` header, without its port; None for what is none."""
    if not text or any(c in text for c in "@/\\?#, \t"):
        return None
    try:
        return urlsplit(f"//{text}").hostname
    except ValueError:
        return None
