"""Layouts that ship, and the bound that all layouts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

MAX_LENGTH: Final = 65_551
"""The longest header of any layout, in bytes: as many as proxy-v2 can be long."""


def _magic(value: str) -> list[dict[str, Any]]:
    return [
        {"bytes": value},
        {"u8": "family"},
        {"ip": "peer"},
        {"u16be": "peer_port"},
        {"ip": "destination"},
        {"u16be": "destination_port"},
    ]


LAYOUT_PRESETS: Final[Mapping[str, Callable[[str], list[dict[str, Any]]]]] = {"magic": _magic}
"""Layouts by name; each is made from the site's own value."""
