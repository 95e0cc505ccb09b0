"""Declared layouts: what a site may write under `layout`, checked before the core sees it.

The core compiles layouts (core/src/header/layout) and refuses what cannot work. This module refuses
the same in the same words, but with the place of every mistake, not only of the first, so that the
configuration's errors can name the line. tests/reassembly/test_layout.py holds the two together.

A field is a mapping with one *kind* (`u8`, `ip`, `literal`, ...) whose value is its *role* or its
content; further keys are options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeGuard

from reassembly.presets import MAX_LENGTH

Location = tuple[str | int, ...]
"""Keys and list positions, from the layout's own top."""

Problem = tuple[Location, str]

TOKEN_MAX: Final = 64
NUMBER_WIDTHS: Final = {"u8": 1, "u16be": 2, "u16le": 2, "u32be": 4, "u32le": 4}
BINARY_KINDS: Final = ("bytes", *NUMBER_WIDTHS, "ip", "ipv4", "ipv6", "skip", "padding")
TEXT_KINDS: Final = (
    "literal",
    "separator",
    "terminator",
    "word",
    "decimal",
    "hex",
    "ip",
    "ipv4",
    "ipv6",
    "text",
)
SIDES: Final = ("peer", "destination")
PORTS: Final = ("peer_port", "destination_port")
NUMBER_ROLES: Final = {
    "family": ("ipv4", "ipv6"),
    "peer_port": (),
    "destination_port": (),
    "length": ("of",),
    "crc32c": ("over",),
    "crc32": ("over",),
    "value": ("name",),
}
"""The roles of a number, and the options of each."""

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")


class _WrongError(Exception):
    """One mistake in one field."""


@dataclass
class _Field:
    """One field's mapping, and what is known of those before it."""

    index: int
    kind: str
    value: Any
    options: Mapping[str, Any]

    @property
    def place(self) -> Location:
        return (self.index, self.kind)

    def only(self, *allowed: str) -> None:
        for key in self.options:
            if key not in allowed:
                what = f"is not an option; allowed: {', '.join(allowed)}"
                raise _WrongError(f"{key}: {what if allowed else 'takes no options'}")

    def word(self, *words: str) -> str:
        return _choose(self.value, words)

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise _WrongError(f"{_json(self.value)} must be a text; put it in quotes")
        return self.value

    def option_text(self, key: str) -> str | None:
        value = self.options.get(key)
        if key in self.options and not isinstance(value, str):
            raise _WrongError(f"{key}: must be a text")
        return value

    def option_number(self, key: str, largest: int) -> int | None:
        value = self.options.get(key)
        if key in self.options and not (_is_count(value) and value <= largest):
            raise _WrongError(f"{key}: must be a number from 0 to {largest}")
        return value

    def count(self) -> None:
        if not (_is_count(self.value) and 1 <= self.value <= MAX_LENGTH):
            raise _WrongError(f"{_json(self.value)} must be a number of bytes")


@dataclass
class _Census:
    """What the fields so far hold."""

    ips: dict[str, str] = field(default_factory=dict)
    ports: set[str] = field(default_factory=set)
    once: set[str] = field(default_factory=set)
    constant: bool = False
    by_family: bool = False
    size4: int = 0
    size6: int = 0

    def grow(self, size4: int, size6: int | None = None) -> None:
        self.size4 += size4
        self.size6 += size4 if size6 is None else size6

    def ip(self, one: _Field) -> None:
        side = one.word(*SIDES)
        if side in self.ips:
            raise _WrongError("this address is there twice")
        self.ips[side] = one.kind

    def port(self, side: str) -> None:
        if side in self.ports:
            raise _WrongError("this port is there twice")
        self.ports.add(side)

    def first(self, what: str) -> None:
        if what in self.once:
            raise _WrongError(f"{what} is there twice")
        self.once.add(what)

    def absent(self, constant: str) -> Iterator[Problem]:
        """What the whole lacks."""
        for name in (*SIDES, *PORTS):
            if name not in self.ips and name not in self.ports:
                yield (), f"no field holds {name}"
        if set(self.ips.values()) == {"ipv4", "ipv6"}:
            yield (), "peer and destination are of two families"
        if not self.constant:
            yield (), f"no {constant} tells such a header from a payload"


def layout_problems(
    fields: list[Any], encoding: object = "binary", max_length: object = None
) -> Iterator[Problem]:
    """Find every mistake in a layout, as (where, what); nothing of one that the core takes.

    An empty place is the layout as a whole; ("max_length",) is that option.
    """
    if encoding not in ("binary", "text"):
        return
    check, kinds = (_binary, BINARY_KINDS) if encoding == "binary" else (_text, TEXT_KINDS)
    census = _Census()
    entries: list[_Field] = []
    broken = False
    for index, value in enumerate(fields):
        try:
            one = _entry(index, value, kinds)
        except _WrongError as wrong:
            broken = True
            yield (index,), str(wrong)
            continue
        try:
            check(one, entries, census, len(fields))
        except _WrongError as wrong:
            broken = True
            yield one.place, str(wrong)
        entries.append(one)
    if broken:
        # What the whole lacks may be what a broken field was meant to hold.
        return
    if encoding == "text" and (not entries or entries[-1].kind != "terminator"):
        yield (), "the last field must be a terminator"
        return
    if encoding == "text":
        yield from census.absent("literal")
        yield from _ends(entries)
        return
    whole = list(census.absent("constant"))
    yield from whole
    if not whole:
        yield from _sizes(census, max_length)


def _sizes(census: _Census, max_length: object) -> Iterator[Problem]:
    """Check what only the sizes of all fields tell."""
    size = max(census.size4, census.size6)
    told = "the family" in census.once or not census.by_family
    if not told and ("rest" in census.once or census.size4 == census.size6):
        yield (), "the length cannot tell the family here; name the family"
    elif size > MAX_LENGTH:
        yield (), f"is longer than {MAX_LENGTH} bytes"
    elif isinstance(max_length, int) and max_length < size:
        yield ("max_length",), f"{max_length} is below the {size} bytes that the fields need"


def _entry(index: int, value: object, kinds: tuple[str, ...]) -> _Field:
    if not isinstance(value, Mapping):
        raise _WrongError(f"must be an object with one of: {', '.join(kinds)}")
    found = [key for key in value if key in kinds]
    if len(found) > 1:
        # `ipv4` and `ipv6` are kinds of their own, and options of a family.
        found = [key for key in found if key not in ("ipv4", "ipv6")]
    if len(found) != 1:
        keys = ", ".join(map(str, value))
        raise _WrongError(f"has {{{keys}}}; must have exactly one of: {', '.join(kinds)}")
    options = {str(key): option for key, option in value.items() if key != found[0]}
    return _Field(index, found[0], value[found[0]], options)


def _binary(one: _Field, before: list[_Field], census: _Census, count: int) -> None:
    if "rest" in census.once:
        raise _WrongError("nothing can follow {skip: rest}")
    if one.kind == "bytes":
        one.only()
        text = one.text()
        if not _HEX.fullmatch(text):
            raise _WrongError(f"{_json(text)} is not pairs of hexadecimal digits")
        census.constant = True
        census.grow(len(text) // 2)
    elif one.kind in ("ip", "ipv4", "ipv6"):
        census.ip(one)
        if one.kind == "ip" and not census.once & {"the family", "the length"}:
            raise _WrongError(
                "nothing before it tells the family: add a family or a length, or use ipv4 or ipv6"
            )
        width = one.option_number("width", 16)
        if width not in (None, 16):
            raise _WrongError("width: must be 16")
        one.only(*(("width",) if one.kind == "ip" else ()))
        census.by_family |= one.kind == "ip"
        census.grow(16 if one.kind == "ipv6" or width else 4, 4 if one.kind == "ipv4" else 16)
    elif one.kind == "skip" and one.value == "rest":
        if "the length" not in census.once:
            raise _WrongError("rest: no length stands before it")
        one.only()
        census.once.add("rest")
    elif one.kind in ("skip", "padding"):
        one.only(*(("name",) if one.kind == "skip" else ()))
        one.option_text("name")
        one.count()
        census.grow(one.value)
    else:
        _number(one, census)
        census.grow(NUMBER_WIDTHS[one.kind])


def _number(one: _Field, census: _Census) -> None:
    width = NUMBER_WIDTHS[one.kind]
    largest = (1 << 8 * width) - 1
    if isinstance(one.value, int | float) and not isinstance(one.value, bool):
        one.only()
        if not (_is_count(one.value) and one.value <= largest):
            raise _WrongError(f"{one.value} does not fit")
        census.constant = True
        return
    role = one.word(*NUMBER_ROLES)
    one.only(*NUMBER_ROLES[role])
    if role == "family":
        census.first("the family")
        ipv4 = one.option_number("ipv4", largest)
        ipv6 = one.option_number("ipv6", largest)
        if (4 if ipv4 is None else ipv4) == (6 if ipv6 is None else ipv6):
            raise _WrongError("ipv4 and ipv6 are the same value")
    elif role in PORTS:
        if width < 2:
            raise _WrongError("a port needs 16 bits")
        census.port(role)
    elif role == "length":
        census.first("the length")
        if "of" in one.options:
            _choose(one.options["of"], ("rest", "whole"))
    elif role == "value":
        if one.option_text("name") is None:
            raise _WrongError("value: needs a name to be reported under")
    else:
        census.first("a checksum")
        if width != 4:
            raise _WrongError("a checksum needs 32 bits")
        if "over" in one.options:
            _choose(one.options["over"], ("whole", "before"))


def _text(one: _Field, before: list[_Field], census: _Census, count: int) -> None:
    if one.kind == "terminator" and one.index + 1 != count:
        raise _WrongError("must be the last field")
    if one.kind in ("literal", "separator", "terminator"):
        one.only()
        if not one.text():
            raise _WrongError("must not be empty")
        census.constant |= one.kind == "literal"
    elif one.kind == "word":
        one.only("ipv4", "ipv6")
        one.word("family")
        ipv4, ipv6 = one.option_text("ipv4"), one.option_text("ipv6")
        if ipv4 is None or ipv6 is None:
            raise _WrongError("needs both words: ipv4, ipv6")
        if ipv4.startswith(ipv6) or ipv6.startswith(ipv4):
            raise _WrongError("one word is the beginning of the other")
        census.constant = True
    elif one.kind in ("decimal", "hex"):
        one.only()
        census.port(one.word(*PORTS))
    elif one.kind == "text":
        one.only("max", "emit")
        one.text()
        one.option_number("max", MAX_LENGTH)
        one.option_text("emit")
    else:
        one.only()
        census.ip(one)


_OPEN: Final = ("ip", "ipv4", "ipv6", "decimal", "hex", "text")
"""Text fields whose length varies: what follows must tell where they end."""

_DIGITS: Final = b"0123456789"
_HEX_DIGITS: Final = _DIGITS + b"abcdefABCDEF"
_HOLDS: Final = {
    "ip": _HEX_DIGITS + b":.",
    "ipv4": _DIGITS + b".",
    "ipv6": _HEX_DIGITS + b":.",
    "decimal": _DIGITS,
    "hex": _HEX_DIGITS,
}
"""Bytes that a field's own text may have in it."""


def _begins(one: _Field) -> bytes:
    """The bytes with which a field can begin; none where that is any byte."""
    match one.kind:
        case "literal" | "terminator":
            return str(one.value).encode()[:1]
        case "separator":
            return str(one.value).encode()
        case "word":
            return b"".join(str(one.options[word]).encode()[:1] for word in ("ipv4", "ipv6"))
        case _:
            return _HOLDS.get(one.kind, b"")


def _ends(entries: list[_Field]) -> Iterator[Problem]:
    """Check that the end of each field can be seen."""
    for one, following in pairwise(entries):
        if one.kind in _OPEN and following.kind not in ("literal", "terminator", "separator"):
            yield one.place, "a literal, a separator or the terminator must follow"
            continue
        begins = _begins(following)
        holds = one.value.encode() if one.kind == "separator" else _HOLDS.get(one.kind, b"")
        clash = next((chr(byte) for byte in begins if byte in holds), None)
        if clash is not None:
            yield one.place, f"{clash!r} behind it could be part of it"
        elif one.kind == "text":
            emit = one.options.get("emit", "-").encode()
            if len(emit) > one.options.get("max", TOKEN_MAX) or set(emit) & set(begins):
                yield one.place, "emit: would not be read back"


def _choose(value: object, words: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in words:
        return value
    raise _WrongError(f"{_json(value)} is not known; allowed: {', '.join(words)}")


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
