from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from suricata.enrich import Enricher
from suricata.enrichment.enrichment import Enrichment
from suricata.enrichment.settings import (
    EnrichmentSettings,
    Named,
    PeerSettings,
    SessionSettings,
)
from suricata.enrichment.stage import SESSIONS_FILE, Stage, open_stage
from suricata.session_store import SessionStoreError
from suricata.sessions import SessionTable

from ..samples import SEED, lines, store

NAMED = EnrichmentSettings(decoys=[Named(name="web", addresses=["192.168.110.2"])])


def corrected() -> bytes:
    enricher = Enricher(store(), community_id_seed=SEED, wait_events=0)
    return enricher.feed(b"".join(line + b"\n" for line in lines()))


def peeltap(line: bytes) -> dict[str, Any]:
    member: dict[str, Any] = json.loads(line)["peeltap"]
    return member


def test_only_peeltap_is_written_anew() -> None:
    stage = Stage(Enrichment(NAMED), SessionTable())
    before = corrected().splitlines()
    after = stage.process(corrected(), 0.0).splitlines()
    assert len(after) == len(before)
    changed = 0
    for old, new in zip(before, after, strict=True):
        event = json.loads(new)
        member = event.get("peeltap", {})
        changed += member.pop("session", None) is not None
        if member.pop("decoy", None) is not None:
            assert "192.168.110.2" in (event["src_ip"], event["dest_ip"])
        assert orjson.dumps(event) == old
    assert changed > 100
    assert stage.status()["failures"] == 0
    assert stage.status()["sessions"]["open"] > 5


ODD = (
    b'{"timestamp":"2026-01-01T00:00:00.000000+0000", "event_type":"http","n":1.10,'
    b'"big":123456789012345678901234567890,"src_ip":"203.0.113.1","src_port":5,'
    b'"dest_ip":"192.168.110.2","dest_port":80,"proto":"TCP","half":"\\ud800",'
    b'"peeltap":{"observed":{"src_ip":"172.16.23.1","src_port":1,"dest_ip":"172.16.23.2",'
    b'"dest_port":2},"direction":"to_server","id":"abc.1"}%s}'
)


@pytest.mark.parametrize("end", [b"", b',"after":"x,\\"peeltap\\":{}"', b" "])
def test_odd_lines_keep_every_other_byte_and_the_id_stays_last(end: bytes) -> None:
    line = ODD % end
    [out] = Stage(Enrichment(NAMED)).process(line + b"\n", 0.0).splitlines()
    added = peeltap(out)
    assert added["decoy"] == {"name": "web"}
    assert list(added)[-1] == "id"
    start = line.index(b'"peeltap"')
    assert out[:start] == line[:start]
    assert out.endswith(b"}" + end + b"}")


@pytest.mark.parametrize(
    "line",
    [b"no json", b"[1]", b'{"peeltap":5}', b'{"event_type":"stats"}', b"[" * 3000 + b"]" * 3000],
    ids=["text", "array", "number", "stats", "deep"],
)
def test_what_cannot_be_read_passes(line: bytes) -> None:
    assert Stage(Enrichment(NAMED), SessionTable()).process(line + b"\n", 0.0) == line + b"\n"


def test_who_is_dropped_goes_nowhere() -> None:
    deny = PeerSettings(addresses=["203.0.113.0/24", "2001:db8:203::/48"], then="drop")
    stage = Stage(Enrichment(EnrichmentSettings(deny=deny)), SessionTable())
    left = stage.process(corrected(), 0.0).splitlines()
    assert 0 < len(left) < len(lines())
    assert all("direction" not in json.loads(line).get("peeltap", {}) for line in left)
    assert stage.status()["enrichment"]["dropped"] == len(lines()) - len(left)
    assert stage.status()["sessions"]["open"] == 0


def test_a_fault_of_ours_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, str]] = []
    stage = Stage(Enrichment(NAMED), say=lambda *one: said.append(one))

    def broken(*args: object) -> bool:
        raise RuntimeError("x")

    monkeypatch.setattr(Enrichment, "add", broken)
    assert stage.process(corrected(), 0.0) == corrected()
    assert stage.status()["failures"] > 100
    assert said[0] == (logging.ERROR, "enrichment: RuntimeError: x")


def test_summaries_come_with_time_and_sessions_outlive_a_restart(tmp_path: Path) -> None:
    settings = SessionSettings(window_seconds=60)
    stage = open_stage(EnrichmentSettings(), settings, tmp_path)
    assert stage is not None
    stage.start()
    out = stage.process(corrected(), 0.0)
    ids = {one["session"] for one in map(peeltap, out.splitlines()[:-1]) if "session" in one}
    # Time goes on: sessions whose window has passed are summed up.
    assert stage.tick(0.0) == b""
    stage.close()
    again = open_stage(EnrichmentSettings(), settings, tmp_path)
    assert again is not None
    assert again.status()["sessions"]["open"] == stage.status()["sessions"]["open"]
    assert again.tick(5.0) == b""
    summaries = [json.loads(line) for line in again.tick(1000.0).splitlines()]
    assert {one["peeltap"]["session"] for one in summaries} <= ids
    assert len(summaries) == again.status()["sessions"]["summaries"] > 5
    assert {one["event_type"] for one in summaries} == {"peeltap_session"}
    again.close()
    third = open_stage(EnrichmentSettings(), settings, tmp_path)
    assert third is not None
    assert third.status()["sessions"]["open"] == 0
    third.close()


def test_a_store_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    stage = open_stage(
        EnrichmentSettings(), SessionSettings(), tmp_path, say=lambda level, text: said.append(text)
    )
    assert stage is not None
    stage.process(corrected(), 0.0)
    save = stage._store.save  # type: ignore[union-attr]

    def full(*args: object) -> None:
        raise SessionStoreError("the disk is full")

    stage._store.save = full  # type: ignore[union-attr, method-assign]
    stage.tick(10.0)
    assert said == ["the disk is full"]
    stage._store.save = save  # type: ignore[union-attr, method-assign]
    stage.tick(20.0)
    assert said[1:] == ["sessions are kept again"]
    stage.close()
    assert (tmp_path / SESSIONS_FILE).exists()


def test_a_trouble_is_said(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("203.0.113.1\n")
    said: list[str] = []
    settings = EnrichmentSettings(allow=PeerSettings(file=path))
    stage = open_stage(settings, None, tmp_path, say=lambda level, text: said.append(text))
    assert stage is not None
    path.unlink()
    stage.tick(1.0)
    [sentence] = said
    assert "is gone" in sentence
    stage.close()


def test_nothing_asked_for_is_no_stage(tmp_path: Path) -> None:
    assert open_stage(EnrichmentSettings(), None, tmp_path) is None
    assert open_stage(EnrichmentSettings(), None, tmp_path, segments=NAMED.decoys) is not None
