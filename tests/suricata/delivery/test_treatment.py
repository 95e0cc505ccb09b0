"""What becomes of an event on its way to one sink, and what it holds back."""

from __future__ import annotations

from typing import Any

import orjson

from suricata.delivery.outstanding import Cell
from suricata.delivery.route import Route
from suricata.delivery.treatment import Treatment
from suricata.event_settings import WhenSettings
from suricata.ids import of_content

from .test_aggregate import alert


def lines(*events: object) -> list[bytes]:
    return [orjson.dumps(event) for event in events]


def test_lines_stay_as_they_are_and_each_holds_its_block() -> None:
    cell = Cell(1)
    given = [*lines(alert(1), {"n": 1}), b'{ "spaced": 1}']
    out = list(Treatment().take(given, cell, 0))
    assert [one.line for one in out] == given
    assert [one.id for one in out] == ["f-1", of_content(given[1]), of_content(given[2])]
    assert out[0].event == alert(1)
    assert cell.waiting == 3


def test_an_id_that_is_none_is_replaced() -> None:
    odd = lines(*({"peeltap": {"id": id_}} for id_ in ("a b", "", "x" * 65, 7, None, "a\n")))
    for one, line in zip(Treatment().take(odd, Cell(1), 0), odd, strict=True):
        assert one.id == of_content(line)


def test_what_is_routed_elsewhere_holds_nothing() -> None:
    cell = Cell(1)
    treatment = Treatment(route=Route([WhenSettings(types=["alert"])]))
    assert len(list(treatment.take(lines(alert(), {"event_type": "flow"}), cell, 0))) == 1
    assert (cell.waiting, treatment.left_out) == (1, 1)


def test_what_is_gathered_holds_the_block_of_the_first() -> None:
    first, second = Cell(1), Cell(2)
    treatment = Treatment(aggregate_seconds=60)
    assert list(treatment.take(lines(alert(1)), first, 0)) == []
    assert list(treatment.take(lines(alert(2)), second, 1)) == []
    assert (first.waiting, second.waiting) == (1, 0)
    assert treatment.next_end == 60
    [one] = treatment.ended(60)
    assert (one.cell, first.waiting) == (first, 1)
    assert orjson.loads(one.line)["peeltap"]["count"] == 2
    assert one.id == "f-1"
    # One that stayed alone goes out to the byte.
    [line] = lines(alert(3))
    list(treatment.take([line], first, 61))
    [one] = treatment.flush()
    assert one.line == line
    assert treatment.status() == {"left_out": 0, "merged": 1, "gathering": 0}


def test_a_shape_makes_another_line_or_none_and_its_fault_costs_one_event() -> None:
    def shape(event: dict[str, Any]) -> bytes | None:
        if event["n"] == 3:
            raise KeyError("n")
        return None if event["n"] == 2 else b'{"shaped":%d}' % event["n"]

    cell = Cell(1)
    treatment = Treatment(shape=shape)
    out = list(treatment.take(lines(*({"n": n} for n in range(1, 5))), cell, 0))
    assert [one.line for one in out] == [b'{"shaped":1}', b'{"shaped":4}']
    assert (cell.waiting, treatment.left_out) == (2, 1)
    [letter] = treatment.letters
    assert letter.reason == "its shape failed: KeyError"
    assert letter.line == b'{"n":3}'


def test_what_is_no_object_is_a_dead_letter_and_what_only_a_lenient_parser_reads_is_none() -> None:
    treatment = Treatment()
    big = b'{"n": 123456789012345678901234567890}'
    out = list(treatment.take([b"[1]", b"{", b"", big], Cell(1), 0))
    assert [one.line for one in out] == [big]
    assert len(treatment.letters) == 3


def test_a_fault_of_ours_costs_one_event_and_is_kept() -> None:
    class Faulty(Route):
        def takes(self, event: dict[str, Any]) -> bool:
            return bool(1 // event["n"])

    treatment = Treatment(route=Faulty(sample={"flow": 2}))
    out = list(treatment.take(lines({"n": 1}, {"n": 0}, {"n": 1}), Cell(1), 0))
    assert len(out) == 2
    assert [letter.reason for letter in treatment.letters] == ["a fault: ZeroDivisionError"]
    # Two that cannot be written as one.
    gather = Treatment(aggregate_seconds=1)
    big = orjson.dumps(alert())[:-1] + rb',"x":"\ud800"}'
    list(gather.take([big, big], Cell(1), 0))
    assert list(gather.ended(1)) == []
    assert [letter.reason for letter in gather.letters] == ["a fault: TypeError"]
