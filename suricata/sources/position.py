"""Where each EVE file was left: its inode, the offset, and a fingerprint of what was read.

An inode alone is not an identity: a deleted file's number goes to the next file made. The
fingerprint is a hash of the file's first bytes and of those right before the offset. EVE lines
begin with a time and a flow's number, so two files that agree in both are one, or a copy.

The state is one small JSON file, replaced whole: what is read back is an earlier state or this one,
never half of either.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

HEAD_BYTES: Final = 1024
WINDOW_BYTES: Final = 256

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Print:
    """`length` bytes and their hash."""

    length: int
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Print:
        """The print of `data`."""
        return cls(len(data), blake2b(data, digest_size=16).hexdigest())


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, at the beginning of a line unless `skipping`.

    `head` is of the file's first bytes, of none until a whole line was read, `window` of those that
    end at `offset`. `mtime_ns` is the file's when it was last read. `skipping`: the line that the
    offset lies in is too long, and left out up to its end.
    """

    inode: int
    offset: int
    head: Print
    window: Print
    mtime_ns: int
    skipping: bool = False

    def describes(self, fd: int) -> bool:
        """Whether the open file begins with what was read; it may be shorter, a copy made before.

        Of a file of which no whole line was read only the inode tells. Raises OSError.
        """
        if self.head.length == 0:
            return os.fstat(fd).st_ino == self.inode
        if Print.of(os.pread(fd, self.head.length, 0)) != self.head:
            return False
        if os.fstat(fd).st_size < self.offset:
            return True
        before = os.pread(fd, self.window.length, self.offset - self.window.length)
        return Print.of(before) == self.window

    def as_json(self) -> dict[str, Any]:
        """Plain values for the state file."""
        return {
            "inode": self.inode,
            "offset": self.offset,
            "head": [self.head.length, self.head.digest],
            "window": [self.window.length, self.window.digest],
            "mtime_ns": self.mtime_ns,
            "skipping": self.skipping,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """The position of `as_json`. Raises KeyError, TypeError, ValueError."""
        head, window = (Print(_count(value[k][0]), str(value[k][1])) for k in ("head", "window"))
        position = cls(
            _count(value["inode"]),
            _count(value["offset"]),
            head,
            window,
            _count(value["mtime_ns"]),
            value["skipping"] is True,
        )
        if max(head.length, window.length) > max(HEAD_BYTES, WINDOW_BYTES):
            raise ValueError("a print of too many bytes")
        if window.length > position.offset:
            raise ValueError("a window before the file's beginning")
        return position


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is no count")
    return value


# By the name of the path that is followed, the positions of its generations, the oldest first.
Positions = dict[str, list[Position]]


class Keeper(Protocol):
    """Keeps positions across restarts."""

    def load(self) -> tuple[Positions, str | None]:
        """The kept positions, none at a first start; and a sentence if they cannot be used."""
        ...

    def save(self, positions: Positions) -> None:
        """Replace them; durable when it returns, or with the transaction around. Raises OSError."""
        ...


class StateFile:
    """Keeps positions in one small file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[Positions, str | None]:
        """See Keeper."""
        return load(self._path)

    def save(self, positions: Positions) -> None:
        """See Keeper."""
        save(self._path, positions)


def parse(text: bytes | str) -> Positions:
    """The positions of `emit`. Raises ValueError, whatever is wrong with `text`."""
    try:
        value = json.loads(text)
        if value["version"] != _VERSION:
            raise ValueError(f"version {value['version']!r}")
        return {
            str(name): [Position.from_json(one) for one in positions]
            for name, positions in value["files"].items()
        }
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(str(error)) from error


def emit(positions: Positions) -> str:
    """The positions as one JSON text."""
    files = {name: [one.as_json() for one in many] for name, many in positions.items()}
    return json.dumps({"version": _VERSION, "files": files})


def load(path: Path) -> tuple[Positions, str | None]:
    """The saved positions, and a sentence if there is a file that cannot be used.

    A file that is not there is a first start.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror}): EVE is read from its beginning"
    try:
        return parse(text), None
    except ValueError as error:
        return {}, f"{path} is damaged ({error}): EVE is read from its beginning"


def save(path: Path, positions: Positions) -> None:
    """Replace the saved positions; durable when it returns. Raises OSError."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = emit(positions).encode()
        # A short write on a full disk must not replace what is whole.
        if os.write(fd, data) != len(data):
            raise OSError(28, os.strerror(28), str(temporary))
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
