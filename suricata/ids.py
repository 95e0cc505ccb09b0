"""The id of each event: the same whenever the event is read again, by whoever reads it.

A line of a file is told by the file (a hash of its first line, so that a copy or a renamed file is
the same one) and the place where it begins; an entry of a stream by the stream's own id. What comes
from a socket cannot be read again: it is numbered, behind a number that no other run has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from secrets import token_hex
from typing import Final, NamedTuple

FILE_BYTES: Final = 1024
"""So much of a file's first line tells it from others: a time, a flow's number, an event."""


class Places(NamedTuple):
    """Ids of whole lines that stand one behind another in `file`, the first at byte `offset`."""

    file: bytes
    offset: int

    def each(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The ids of `lines`, which come without their newlines."""
        file, at = self.file, self.offset
        for line in lines:
            yield b"%b-%x" % (file, at)
            at += len(line) + 1

    def behind(self, skipped: int) -> Places:
        """The same, `skipped` bytes further on."""
        return Places(self.file, self.offset + skipped)


class Named(NamedTuple):
    """Ids that each line came with, `[A-Za-z0-9._-]` only."""

    ids: Sequence[bytes]

    def each(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The ids, in the lines' order."""
        return iter(self.ids)


Ids = Places | Named


def file_identity(head: bytes) -> bytes:
    """What the file that begins with `head` is called in ids; `head` has its first line whole."""
    first = head[:FILE_BYTES].partition(b"\n")[0]
    return blake2b(first, digest_size=8).hexdigest().encode()


class Numbering:
    """Ids for lines that cannot be read again: a random name of this run, and a counter."""

    def __init__(self) -> None:
        self._name = token_hex(8).encode()
        self._next = 0

    def take(self, lines: bytes) -> Places:
        """The ids of `lines`, whole ones: their place in all that came."""
        places = Places(self._name, self._next)
        self._next += len(lines)
        return places


def of_part(id_: bytes, number: int) -> bytes:
    """The id of a further event that stood on the same line."""
    return b"%b.%d" % (id_, number)


def of_content(line: bytes) -> str:
    """The id of an event that came without one: its content's."""
    return blake2b(line, digest_size=16).hexdigest()
