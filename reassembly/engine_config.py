"""A configuration in which all is right, read in plain Python, and the engine's JSON made from it.

`read` accepts what `reassembly.settings.EngineSettings` accepts and gives what its `model_dump`
gives, or None wherever the models would complain, or might: they then say what is wrong, in words.
Pydantic so is imported only for a file with a mistake; it costs a process more than two million
packets may cost over copying them. tests/reassembly/test_engine_config.py holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from reassembly.presets import LAYOUT_PRESETS, MAX_LENGTH
from reassembly.rules import BUILTIN_CODECS, CODEC_DEFAULTS, SSLPROXY, Endpoint, problems

MAX_COUNT = (1 << 30) - 1
MAX_SECONDS = 1e8
"""What the core takes at most as a limit."""

MAX_CONNECTIONS = 1 << 24
"""The core reserves room for all of them at once: 2.4 GB of address space for so many."""

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "mode": ("strip", "restore"),
    "midstream": ("pass", "drop"),
    "other": ("pass", "drop"),
    "superframes": ("keep", "segment"),
}
"""What may stand at a key; the first is the default."""

LIMITS: Final[Mapping[str, tuple[int | float, int | float]]] = {
    "connections": (1_000_000, MAX_CONNECTIONS),
    "half_open": (65_536, MAX_CONNECTIONS),
    "hold_packets": (256, MAX_COUNT),
    "hold_bytes": (1_048_576, MAX_COUNT),
    "hold_seconds": (3.0, MAX_SECONDS),
    "hold_total_bytes": (67_108_864, MAX_COUNT),
    "fragments": (4096, MAX_COUNT),
    "fragment_seconds": (30.0, MAX_SECONDS),
    "idle_seconds": (3600.0, MAX_SECONDS),
    "half_open_seconds": (60.0, MAX_SECONDS),
    "closed_seconds": (60.0, MAX_SECONDS),
}
"""The default and the most of each limit; all are more than 0."""

MAX_DEPTH: Final = 8
ENCODINGS: Final = ("binary", "text")
POSITIONS: Final = ("front", "request", "any")


class _DoubtError(Exception):
    """Something that the models have to look at."""


def read(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give `data` with every default filled in, or None where it is not plainly right."""
    try:
        settings: dict[str, Any] = {
            "gateways": [_read_gateway(one) for one in _filled(data.get("gateways"), list)],
            "codecs": {
                _exact(name, str): _read_codec(codec)
                for name, codec in _exact(data.get("codecs", {}), dict).items()
            },
            **{key: _one_of(data.get(key, words[0]), words) for key, words in WORDS.items()},
            "limits": _read_limits(_exact(data.get("limits", {}), dict)),
        }
        _only(data, settings)
    except _DoubtError:
        return None
    return None if any(problems(settings)) else settings


def _read_gateway(gateway: object) -> dict[str, Any]:
    given = _exact(gateway, dict)
    read: dict[str, Any] = {
        "from": _endpoint(given.get("from")),
        "to": _endpoint(given.get("to")),
        "headers": [_exact(name, str) for name in _filled(given.get("headers"), list)],
        "required": _exact(given.get("required", False), bool),
        "depth": _number(given.get("depth", 1), int, MAX_DEPTH),
    }
    _only(given, read)
    return read


def _endpoint(value: object) -> str:
    try:
        return str(Endpoint.parse(value))
    except ValueError:
        raise _DoubtError from None


def _read_codec(codec: object) -> dict[str, Any]:
    given = _exact(codec, dict)
    _only(given, CODEC_DEFAULTS)
    read = {**CODEC_DEFAULTS, **given}
    _one_of(read["encoding"], ENCODINGS)
    for key, kind in (("magic", str), ("layout", list)):
        if read[key] is not None:
            _exact(read[key], kind)
    if read["position"] is not None:
        _one_of(read["position"], POSITIONS)
    if read["max_length"] is not None:
        _number(read["max_length"], int, MAX_LENGTH)
    return read


def _read_limits(given: dict[str, Any]) -> dict[str, int | float]:
    _only(given, LIMITS)
    return {
        key: _number(given.get(key, default), type(default), most)
        for key, (default, most) in LIMITS.items()
    }


def _exact(value: object, kind: type) -> Any:
    # Not isinstance: true is no number.
    if type(value) is not kind:
        raise _DoubtError
    return value


def _filled(value: object, kind: type) -> Any:
    if not _exact(value, kind):
        raise _DoubtError
    return value


def _one_of(value: object, words: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in words:
        raise _DoubtError
    return value


def _number(value: object, kind: type, most: int | float) -> int | float:
    # A whole number serves where seconds are asked for; NaN is neither more nor less.
    number: int | float = _exact(value, int if type(value) is int else kind)
    if not 0 < number <= most:
        raise _DoubtError
    return kind(number)  # type: ignore[no-any-return]


def _only(given: Mapping[Any, Any], known: Mapping[str, Any]) -> None:
    if not given.keys() <= known.keys():
        raise _DoubtError


def engine_config(
    settings: Mapping[str, Any],
    *,
    mode: Literal["strip", "restore"] | None = None,
    superframes: Literal["keep", "segment"] | None = None,
    records: bool = True,
    announce: bool = False,
) -> bytes:
    """Make the engine's JSON from `settings`, as `read` or `EngineSettings.model_dump` gives them.

    `mode` and `superframes` come before those of `settings`. `records`: whether flow records are
    made at all; `announce`: whether one is made already when a connection's verdict is known.
    """
    return json.dumps(
        {
            "mode": mode or settings["mode"],
            "midstream": settings["midstream"],
            "other": settings["other"],
            "superframes": superframes or settings["superframes"],
            "codecs": [{"name": name, "kind": name} for name in BUILTIN_CODECS]
            + [_codec(name, codec) for name, codec in settings["codecs"].items()],
            "gateways": [_gateway(gateway) for gateway in settings["gateways"]],
            "limits": settings["limits"],
            "announce": announce,
            "records": records,
        }
    ).encode()


def _codec(name: str, codec: Mapping[str, Any]) -> dict[str, Any]:
    if codec["position"] is not None:
        return {"name": name, "kind": SSLPROXY, "position": codec["position"]}
    fields = LAYOUT_PRESETS[name](codec["magic"]) if name in LAYOUT_PRESETS else codec["layout"]
    spec = {"name": name, "kind": "layout", "encoding": codec["encoding"], "layout": fields}
    return spec if codec["max_length"] is None else {**spec, "max_length": codec["max_length"]}


def _gateway(gateway: Mapping[str, Any]) -> dict[str, Any]:
    source, to = Endpoint.parse(gateway["from"]), Endpoint.parse(gateway["to"])
    return {
        "from": source.network,
        "from_port": source.port,
        "to": to.network,
        "to_port": to.port,
        "headers": gateway["headers"],
        "required": gateway["required"],
        "depth": gateway["depth"],
    }
