"""The fuzz target `eve`: any bytes as EVE, between two sound events, in any pieces.

Input: one byte, from which the sizes of the pieces come; then the bytes between the two events.
`scripts/fuzz_eve.py` hands it what a fuzzer makes, `test_eve.py` the committed corpus.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from reassembly.store import MemoryStore
from suricata.enrich import REJECT_BYTES, Enricher
from tests.suricata.samples import SEED, lines, record

CORPUS: Final = Path(__file__).parent / "corpus" / "eve"

# Where the correction may change a value (suricata/eve.py, PLACES).
_ENDS: Final = ("src_ip", "src_port", "dest_ip", "dest_port")
_CORRECTED: Final = {
    *((key,) for key in (*_ENDS, "community_id")),
    *((name, key) for name in ("flow", "tunnel") for key in _ENDS),
    *(("alert", name, key) for name in ("source", "target") for key in ("ip", "port")),
}


@cache
def _store() -> MemoryStore:
    found = MemoryStore()
    names = json.loads((Path(__file__).parents[2] / "fixtures/eve/names.json").read_text())
    found.add_many(record(name) for name in names)
    return found


@cache
def _neighbours() -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Two sound events of one connection, each with what becomes of it."""
    http = [line for line in lines() if b'"event_type":"http"' in line][:2]
    first, second = ((line, _enrich([line + b"\n"])[0].rstrip(b"\n")) for line in http)
    return first, second


def _enrich(pieces: list[bytes]) -> tuple[bytes, dict[str, Any], list[bytes]]:
    rejects: list[bytes] = []
    enricher = Enricher(_store(), community_id_seed=SEED, wait_events=0, rejects=rejects.append)
    out = b"".join(enricher.feed(piece) for piece in pieces) + enricher.flush()
    return out, enricher.stats(), rejects


def check(data: bytes) -> None:
    """Assert what has to hold of the correction of any bytes."""
    size, middle = 1 + 7 * (data[0] if data else 0), data[1:]
    (first, first_out), (last, last_out) = _neighbours()
    text = b"\n".join((first, middle, last, b""))
    out, stats, rejects = _enrich([text])

    # 1. Accounts: every line is an event or rejected, and every event has an outcome.
    assert stats["lines"] == stats["events"] + stats["rejected"], stats
    assert stats["events"] == sum(stats["outcomes"].values()) == sum(stats["types"].values()), stats
    assert stats["rejected"] == len(rejects)
    assert all(len(line) <= REJECT_BYTES + 1 and line.endswith(b"\n") for line in rejects)

    # 2. What comes out is one object of JSON a line, as many as there were events.
    assert not out or out.endswith(b"\n")
    written = out.split(b"\n")[:-1]
    assert len(written) == stats["events"]
    for line in written:
        assert type(json.loads(line)) is dict

    # 3. The neighbours are what they are without it.
    assert (written[0], written[-1]) == (first_out, last_out)

    # 4. However the stream is cut: pieces that end within lines take the general way, not the fast.
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert _enrich(pieces) == (out, stats, rejects)

    # 5. What is corrected is left alone the next time.
    again, _, _ = _enrich([out])
    assert again == out

    # 6. Nothing but the places of the 5-tuple changes.
    for line in middle.split(b"\n"):
        _unchanged_elsewhere(line)


def _unchanged_elsewhere(line: bytes) -> None:
    try:
        before = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    if type(before) is not dict or "peeltap" in before:
        return
    out, _, _ = _enrich([line + b"\n"])
    after = json.loads(out)
    after.pop("peeltap", None)
    assert _differences(json.loads(line), after) <= _CORRECTED, out


def _differences(before: Any, after: Any, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Paths at which two values differ."""
    if type(before) is dict and type(after) is dict:
        assert list(before) == list(after), "keys or their order"
        return set().union(*(_differences(before[key], after[key], (*at, key)) for key in before))
    return set() if repr(before) == repr(after) else {at}
