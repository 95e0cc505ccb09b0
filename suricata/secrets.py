"""Secrets of the configuration: named there, read where they are kept, and never shown.

A configuration says `{env: NAME}` or `{file: PATH}`. Whoever needs the value asks for it when a
connection is made, so that a file that was changed counts without a restart; nobody keeps it in
anything that has a `repr`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_MOST_BYTES: Final = 64 << 10
_SHORTEST_SHOWN: Final = 4


class SecretError(ValueError):
    """A secret cannot be had; the text names where it should be, and never holds any of it."""


class Secret(BaseModel):
    """Where a secret is kept; its `repr` is that place, never the value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str | None = Field(
        default=None, min_length=1, description="the environment variable that holds it"
    )
    file: Path | None = Field(default=None, description="the file that holds it")

    @model_validator(mode="before")
    @classmethod
    def _never_in_the_file(cls, value: Any) -> Any:
        # Without the value: it is the secret itself.
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            raise ValueError(
                "a secret does not stand in this file; name where it is kept: {env: NAME} or"
                " {file: PATH}"
            )
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("name one place of the secret: {env: NAME} or {file: PATH}")
        return self

    @property
    def place(self) -> str:
        """Where it is kept, for a sentence."""
        if self.env is not None:
            return f"the environment variable {self.env}"
        return f"the file {self.file}"

    def read(self) -> str:
        """Give the value as it is now, without white space around it. Raises SecretError."""
        if self.file is None:
            value = os.environ.get(self.env or "", "")
        else:
            try:
                with self.file.open("rb") as file:
                    value = file.read(_MOST_BYTES).decode()
            except OSError as error:
                raise SecretError(
                    f"{self.place} cannot be read ({error.strerror}): it should hold a secret that"
                    " is needed"
                ) from None
            except UnicodeDecodeError:
                raise SecretError(f"{self.place} holds no text: it should hold a secret") from None
        value = value.strip()
        if not value:
            raise SecretError(f"{self.place} is empty or absent: it should hold a secret")
        if not value.isprintable():
            # It goes into headers of protocols, where a line break would begin another one.
            raise SecretError(f"{self.place} holds more than one line: it should hold a secret")
        return value


class Redactor:
    """Takes secrets out of what others say, which may repeat what they were told."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def knows(self, *values: str) -> None:
        """Remember `values`, and how they look in base64. Short ones are no secrets."""
        for value in values:
            if len(value) >= _SHORTEST_SHOWN:
                self._known.add(value)
                self._known.add(base64.b64encode(value.encode()).decode())

    def clean(self, text: str, most: int = 300) -> str:
        """`text` as a part of a sentence: no secret, no control character, at most `most` long."""
        for value in sorted(self._known, key=len, reverse=True):
            text = text.replace(value, "***")
        text = "".join(c if c.isprintable() else " " for c in text[: most * 4])
        text = " ".join(text.split())
        return text if len(text) <= most else f"{text[:most]}..."


def read_all(secrets: Iterable[Secret | None], redactor: Redactor) -> list[str]:
    """The values of those that are given, known to `redactor` from now on. Raises SecretError."""
    values = [secret.read() for secret in secrets if secret is not None]
    redactor.knows(*values)
    return values
