"""Ids of events: the same for the same event, whoever reads it; another for another."""

from __future__ import annotations

import re

import orjson

from suricata.enrich import Enricher
from suricata.ids import FILE_BYTES, Named, Numbering, Places, file_identity, of_content, of_part

from .samples import SEED, lines, store

ALLOWED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def ids_of(out: bytes) -> list[str]:
    return [orjson.loads(line)["peeltap"]["id"] for line in out.splitlines()]


def test_a_place_is_told_by_file_and_offset() -> None:
    text = [b"ab", b"", b"cde"]
    assert list(Places(b"f", 16).each(text)) == [b"f-10", b"f-13", b"f-14"]
    assert list(Places(b"f", 16).behind(4).each(text[2:])) == [b"f-14"]
    assert list(Named([b"1-0", b"1-1"]).each(text[:2])) == [b"1-0", b"1-1"]


def test_a_file_is_told_by_its_first_line_alone() -> None:
    first = b'{"timestamp":"2026-01-01T00:00:00.000001+0000"}'
    one = file_identity(first + b"\n")
    assert file_identity(first + b"\nmore") == one
    assert file_identity(first[:-2] + b'2"}\n') != one
    long = b"x" * FILE_BYTES
    assert file_identity(long) == file_identity(long + b"more\n")


def test_what_cannot_be_read_again_is_numbered_under_a_name_of_this_run() -> None:
    one, other = Numbering(), Numbering()
    taken = [*one.take(b"a\nb\n").each([b"a", b"b"]), *one.take(b"c\n").each([b"c"])]
    assert [id_.partition(b"-")[2] for id_ in taken] == [b"0", b"2", b"4"]
    assert next(other.take(b"a\n").each([b"a"])) != taken[0]


def test_each_corrected_event_ends_with_its_id_whichever_way_it_took() -> None:
    tupled = [line for line in lines() if b'"src_ip"' in line]
    text = b"\n".join(tupled) + b"\n"
    whole = Enricher(store(), community_id_seed=SEED, wait_events=0)
    out = whole.feed(text, ids=Places(b"f", 0))
    found = ids_of(out)
    assert len(set(found)) == len(tupled)
    assert all(ALLOWED.fullmatch(id_) for id_ in found)
    assert all(list(orjson.loads(line)["peeltap"])[-1] == "id" for line in out.splitlines())
    # In pieces the same, wherever they are cut.
    pieces = Enricher(store(), community_id_seed=SEED, wait_events=0)
    again, at = b"", 0
    for line in tupled:
        again += pieces.feed(line + b"\n", ids=Places(b"f", at))
        at += len(line) + 1
    assert again == out
    # And without ids everything else is as it was.
    plain = Enricher(store(), community_id_seed=SEED, wait_events=0).feed(text)
    assert re.sub(rb',"id":"f-[0-9a-f]+"', b"", out) == plain


def test_an_event_that_waited_keeps_its_id() -> None:
    tupled = [line for line in lines() if b'"src_ip"' in line and b'"TCP"' in line][:2]
    enricher = Enricher(type(store())(), wait_events=10, wait_seconds=1)
    assert enricher.feed(tupled[0] + b"\n", ids=Places(b"f", 7)) == b""
    assert ids_of(enricher.tick(2)) == ["f-7"]


def test_two_events_on_a_line_have_two() -> None:
    head = b'{"timestamp":"2026-01-01T00:00:00.000000+0000","src_ip":"1.2.3.4","n":'
    out = Enricher(store(), wait_events=0).feed(head + b"1}" + head + b"2}\n", ids=Places(b"f", 0))
    assert ids_of(out) == ["f-0", "f-0.1"]
    assert of_part(b"f-0", 1) == b"f-0.1"


def test_fewer_ids_than_lines_lose_no_line() -> None:
    tupled = [line for line in lines() if b'"src_ip"' in line][:3]
    out = Enricher(store(), wait_events=0).feed(b"\n".join(tupled) + b"\n", ids=Named([b"1-0"]))
    assert [("id" in orjson.loads(line)["peeltap"]) for line in out.splitlines()] == [True, 0, 0]


def test_content_is_an_id_of_the_same_form() -> None:
    assert of_content(b"{}") == of_content(b"{}") != of_content(b"{ }")
    assert ALLOWED.fullmatch(of_content(b"{}"))
