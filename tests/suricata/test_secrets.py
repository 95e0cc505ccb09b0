"""Secrets: found where the configuration says, and never shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from suricata.secrets import Redactor, Secret, SecretError, read_all

VALUE = "correct-horse-battery"


def test_a_secret_is_read_where_it_is_kept_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", VALUE)
    kept = Secret(env="A_SECRET")
    assert kept.read() == VALUE
    file = tmp_path / "secret"
    file.write_text(f"  {VALUE}\n")
    in_file = Secret(file=file)
    assert in_file.read() == VALUE
    file.write_text("another\n")
    assert in_file.read() == "another"
    for secret in (kept, in_file):
        assert VALUE not in f"{secret!r} {secret} {secret.place} {secret.model_dump()}"


BAD = {
    "the secret itself": (VALUE, "a secret does not stand in this file; name where it is kept"),
    "a number": (12345678, "a secret does not stand in this file"),
    "nothing": ({}, "name one place of the secret"),
    "two places": ({"env": "A", "file": "/b"}, "name one place of the secret"),
    "another key": ({"vault": "x"}, "Extra inputs"),
}


@pytest.mark.parametrize(("value", "words"), BAD.values(), ids=BAD)
def test_what_is_no_place_is_refused_without_being_shown(value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as told:
        Secret.model_validate(value)
    assert all(VALUE not in item["msg"] for item in told.value.errors())


CONTENTS = {
    "empty": (b"\n", "is empty or absent"),
    "two lines": (b"one\ntwo", "holds more than one line"),
    "no text": (b"\xff\xfe", "holds no text"),
    "a control character": (b"one\x00two", "holds more than one line"),
}


@pytest.mark.parametrize(("content", "words"), CONTENTS.values(), ids=CONTENTS)
def test_what_is_no_secret_is_told_with_its_place(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SecretError, match=f"the file {file} {words}"):
        Secret(file=file).read()


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="the environment variable NO_SUCH is empty or absent"):
        Secret(env="NO_SUCH").read()
    with pytest.raises(SecretError, match=r"cannot be read \(No such file or directory\)"):
        Secret(file=tmp_path / "none").read()


def test_what_others_say_holds_no_secret_and_nothing_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redactor = Redactor()
    monkeypatch.setenv("A_SECRET", VALUE)
    assert read_all([None, Secret(env="A_SECRET")], redactor) == [VALUE]
    in_base64 = base64.b64encode(VALUE.encode()).decode()
    text = f"you said {VALUE},\x1b[31m or\n {in_base64}"
    assert redactor.clean(text) == "you said ***, [31m or ***"
    assert redactor.clean("x" * 1000, 10) == "x" * 10 + "..."
    # What is that short is no secret, and would make holes in every word.
    redactor.knows("e")
    assert redactor.clean("the text") == "the text"
