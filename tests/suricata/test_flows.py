"""The shapes that the correction asks for, against the stores and records that it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from reassembly.store import MemoryStore, SqliteStore
from suricata.enrich import Enricher
from suricata.flows import FlowStore

from .samples import lines, record, store


def names_of(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [MemoryStore, SqliteStore])
def test_the_stores_have_what_the_correction_asks_of_one(kind: type) -> None:
    assert names_of(FlowStore) <= set(dir(kind))


def test_both_stores_correct_the_samples_alike(tmp_path: Path) -> None:
    data = b"\n".join(lines())
    with SqliteStore(tmp_path / "flows.db") as file:
        file.add_many(record(name) for name in ("http", "http-v6", "ssh", "tls", "smtp"))
        memory = MemoryStore()
        memory.add_many(record(name) for name in ("http", "http-v6", "ssh", "tls", "smtp"))
        outputs = []
        for known in (file, memory):
            enricher = Enricher(known, wait_events=0)
            outputs.append(enricher.feed(data) + enricher.flush())
    assert outputs[0] == outputs[1]
    assert len(store()) > 5
