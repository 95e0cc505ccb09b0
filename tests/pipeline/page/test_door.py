"""Who gets in, for how long, and under which names the page may be asked for."""

from pathlib import Path

import pytest

from pipeline.page.door import KEY_SECONDS, KEYS, Door, DoorError
from suricata.secrets import Secret
from tests.pipeline.page.parts import TOKEN


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


def test_the_token_opens_and_nothing_else_does(file: Path) -> None:
    door = Door(Secret(file=file))
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\udcff", "x" * 4000):
        assert door.enter(wrong) is None
    key = door.enter(TOKEN)
    assert key is not None
    assert TOKEN not in key
    assert door.knows(key)
    for other in (None, "", TOKEN, key[:-1], key + "x"):
        assert not door.knows(other)
    door.leave(key)
    assert not door.knows(key)
    door.leave(key)
    door.leave(None)


def test_a_key_ends(file: Path) -> None:
    clock = Clock()
    door = Door(Secret(file=file), clock=clock)
    key = door.enter(TOKEN)
    clock.now = KEY_SECONDS - 1
    assert door.knows(key)
    clock.now = KEY_SECONDS
    assert not door.knows(key)


def test_keys_are_bounded(file: Path) -> None:
    door = Door(Secret(file=file))
    keys = [door.enter(TOKEN) for _ in range(KEYS + 1)]
    assert [door.knows(key) for key in keys] == [False] + [True] * KEYS


def test_another_token_ends_all_keys(file: Path) -> None:
    door = Door(Secret(file=file))
    key = door.enter(TOKEN)
    door.look()
    assert door.knows(key)
    file.write_text("another-one-that-is-long")
    assert door.enter(TOKEN) is None
    assert not door.knows(key)
    assert door.enter("another-one-that-is-long") is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "is empty or absent"),
        ("short-secret", "holds fewer than 16 characters; make one that nobody guesses: openssl"),
    ],
)
def test_a_token_that_will_not_do(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DoorError) as caught:
        Door(Secret(file=path))
    assert str(caught.value).startswith("page.token: ")
    assert sentence in str(caught.value)
    assert "short-secret" not in str(caught.value)


NAMES = {
    "127.0.0.1:8470": True,
    "127.0.0.1": True,
    "[::1]:8470": True,
    "192.0.2.1:80": True,
    "localhost:9000": True,
    "LOCALHOST": True,
    "peeltap.example": True,
    "peeltap.example:443": True,
    "attacker.example": False,
    "127.0.0.1.attacker.example:8470": False,
    "peeltap.example.attacker.example": False,
    "user@127.0.0.1": False,
    "127.0.0.1/": False,
    "[::1": False,
    "127.1": False,
    "2130706433": False,
    "": False,
}


@pytest.mark.parametrize(("host", "ours"), NAMES.items(), ids=NAMES)
def test_names_that_a_stranger_could_give_are_refused(file: Path, host: str, ours: bool) -> None:
    door = Door(Secret(file=file), ["peeltap.example"])
    assert door.is_name_of_ours(host) is ours
    assert not door.is_name_of_ours(None)


FORMS = {
    "our own": ("http://127.0.0.1:8470", "same-origin", True),
    "a browser that says less": ("http://127.0.0.1:8470", None, True),
    "no browser": (None, None, True),
    "another site's": ("http://attacker.example", "cross-site", False),
    "another port's": ("http://127.0.0.1:80", "same-site", False),
    "another port's, older browser": ("http://127.0.0.1:80", None, False),
    "nobody's": ("null", None, False),
}


@pytest.mark.parametrize(("origin", "site", "ours"), FORMS.values(), ids=FORMS)
def test_forms_of_others_are_refused(
    file: Path, origin: str | None, site: str | None, ours: bool
) -> None:
    assert Door(Secret(file=file)).is_from_us(origin, site, "127.0.0.1:8470") is ours
