"""Where the page may be, and what is said of where it may not."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.page.settings import PageSettings

TOKEN = {"token": {"env": "PEELTAP_TOKEN"}}

RIGHT: dict[str, dict[str, Any]] = {
    "the usual place": {},
    "another place on loopback": {"listen": "127.0.0.2:80"},
    "loopback of the other family": {"listen": "[::1]:8470"},
    "for everybody, told so": {"listen": "0.0.0.0:8470", "beyond_loopback": True},
    "with names": {"names": ["peeltap.example", "siem-1"]},
}


@pytest.mark.parametrize("data", RIGHT.values(), ids=RIGHT)
def test_what_may_be(data: dict[str, Any]) -> None:
    settings = PageSettings.model_validate({**TOKEN, **data})
    assert settings.listen == data.get("listen", "127.0.0.1:8470")
    assert settings.viewers == 8


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "for everybody": ({"listen": "0.0.0.0:8470"}, "set beyond_loopback: true"),
    "for a network": ({"listen": "192.0.2.1:8470"}, "the page has no TLS"),
    "no port": ({"listen": "127.0.0.1"}, "write 127.0.0.1:8470 or [::1]:8470"),
    "a name to listen on": ({"listen": "localhost:8470"}, "write 127.0.0.1:8470"),
    "a name with a port": ({"names": ["a.example:80"]}, "without a port and in small letters"),
    "a name in large letters": ({"names": ["A.example"]}, "in small letters"),
    "a token that stands there": ({"token": "secret-secret-secret"}, "does not stand in this file"),
    "no viewers": ({"viewers": 0}, "greater than or equal to 1"),
    "an unknown key": ({"tls": True}, "Extra inputs"),
}


@pytest.mark.parametrize(("data", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_may_not(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PageSettings.model_validate({**TOKEN, **data})
    assert sentence in str(caught.value)
    assert "secret-secret-secret" not in str(caught.value.errors()[0]["msg"])


def test_there_is_no_page_without_a_token() -> None:
    with pytest.raises(ValidationError, match="token"):
        PageSettings.model_validate({})
