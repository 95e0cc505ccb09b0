"""Where the page may be, and what is said of where it may not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config import load_live, parse_live
from pipeline.errors import ConfigError
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


LIVE = (
    "gateways: [{from: 172.16.23.1, to: 172.16.23.2, headers: [proxy-v2]}]\n"
    "capture: {interface: br1}\n"
)
MISTAKES = {
    "page: {listen: '0.0.0.0:8470', token: {env: T}}\n": (
        "p.yaml:3: page: '0.0.0.0:8470' is not on loopback, and the page has no TLS; listen on "
        "127.0.0.1:8470 behind ssh -L or a proxy with TLS, or set beyond_loopback: true"
    ),
    "page: {}\n": (
        "p.yaml:3: page.token: missing; what is asked for, at least 16 characters: "
        "{file: PATH} or {env: NAME}"
    ),
    "page: {token: {env: T}, viewer: 1}\n": (
        "p.yaml:3: page.viewer: unknown key; did you mean viewers? allowed: listen, token, "
        "beyond_loopback, names, viewers"
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_a_mistake_names_its_line_and_the_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_live(LIVE + text, "p.yaml")
    assert caught.value.lines == [message]


def test_the_token_lies_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(LIVE + "page: {token: {file: token}}\n")
    _, whole = load_live(tmp_path / "p.yaml")
    assert whole.page is not None
    assert whole.page.token.file == tmp_path / "token"


def test_there_is_no_page_without_a_token() -> None:
    with pytest.raises(ValidationError, match="token"):
        PageSettings.model_validate({})
