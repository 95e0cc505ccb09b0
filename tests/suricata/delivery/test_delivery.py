"""One sink's thread: batches, insisting, acknowledgements, the stop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from suricata.delivery.dead_letters import DeadLetters
from suricata.delivery.delivery import BatchLimits, Delivery, announcement
from suricata.delivery.spool import Gap, Limit, Spool
from suricata.delivery.treatment import Treatment
from suricata.sinks.client import Outgoing, Partly, Rejected, Unavailable

from .parts import Told, until

Script = Callable[[Sequence[Outgoing]], list[Rejected]]


class Bench:
    """A delivery on a spool of its own."""

    def __init__(self, place: Path, client: Any, **more: Any) -> None:
        self.client = client
        self.said: list[str] = []
        self.spool = Spool(place / "spool", {"siem": Limit(1 << 30)}, {})
        more.setdefault("treatment", Treatment())
        more.setdefault("limits", BatchLimits(events=10, seconds=0.02))
        self.delivery = Delivery(
            "siem",
            client,
            self.spool,
            dead_letters=DeadLetters(place / "dead", "siem"),
            say=lambda _, text: self.said.append(text),
            flush_seconds=0.01,
            **more,
        )
        self._numbers = itertools.count()

    def put(self, count: int = 1, **event: Any) -> None:
        numbers = itertools.islice(self._numbers, count)
        rows = [{"n": n, **event, "peeltap": {"id": f"f-{n}"}} for n in numbers]
        self.spool.put(b"".join(orjson.dumps(row) + b"\n" for row in rows), time.monotonic())

    def stop(self, seconds: float = 60) -> None:
        self.delivery.finish(time.monotonic() + seconds)
        assert self.delivery.join(seconds + 60)
        assert self.client.closed

    @property
    def acked(self) -> int:
        return self.spool.acked()["siem"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, Told())
    yield made
    made.delivery.abort()
    assert made.delivery.join(60)


def ids(count: int) -> list[str]:
    return [f"f-{n}" for n in range(count)]


def test_a_batch_goes_when_it_is_full_or_its_first_has_waited(bench: Bench) -> None:
    bench.put(25)
    bench.delivery.start()
    until(lambda: bench.client.batches == [10, 10, 5])
    bench.put(1)
    until(lambda: bench.client.batches == [10, 10, 5, 1])
    until(lambda: bench.acked == 2)
    assert bench.client.ids() == ids(26)
    bench.stop()
    status = bench.delivery.status()
    assert (status["lines"], status["batches"], status["held"], status["backlog"]) == (26, 4, 0, 0)
    assert status["trouble"] is None


def unavailable(_: Sequence[Outgoing]) -> list[Rejected]:
    raise Unavailable("siem https://siem takes nothing (503): wait", retry_after=0.01)


def fault(_: Sequence[Outgoing]) -> list[Rejected]:
    raise KeyError("a secret")


def partly(taken: set[int], *rejected: int) -> Callable[[Bench], Script]:
    def make(bench: Bench) -> Script:
        def script(batch: Sequence[Outgoing]) -> list[Rejected]:
            bench.client.take([one for at, one in enumerate(batch) if at in taken])
            raise Partly(
                "siem is busy: wait", taken=taken, rejected=[Rejected(at, "bad") for at in rejected]
            )

        return script

    return make


SCRIPTS: dict[str, tuple[list[Any], int, int]] = {
    "unavailable twice": ([unavailable, unavailable], 0, 2),
    "a fault of the client's": ([fault], 0, 1),
    "a part of it": ([partly({0, 2})], 0, 1),
    "nothing of it": ([partly(set())], 0, 1),
    "a part, and some never": ([partly({1}, 0, 3)], 2, 1),
    "all of it, said as a part": ([partly(set(range(10)))], 0, 0),
    "never, all of it": ([lambda batch: [Rejected(at, "bad") for at in range(len(batch))]], 10, 0),
}


@pytest.mark.parametrize(("script", "refused", "retries"), SCRIPTS.values(), ids=SCRIPTS)
def test_every_event_arrives_or_is_a_dead_letter(
    bench: Bench, script: list[Any], refused: int, retries: int
) -> None:
    made = [one(bench) if one.__name__ == "make" else one for one in script]
    bench.client.script = made
    bench.put(10)
    bench.delivery.start()
    until(lambda: bench.acked == 1)
    status = bench.delivery.status()
    assert (status["rejected"], status["retries"]) == (refused, retries)
    dead = bench.delivery._dead.path
    kept = [orjson.loads(line)["id"] for line in dead.read_bytes().splitlines()] if refused else []
    assert sorted(bench.client.ids() + kept) == sorted(ids(10))
    if retries:
        assert bench.said[-1] == "siem takes events again"
    assert not any("secret" in text for text in bench.said)


def test_dead_letters_that_cannot_be_kept_hold_the_sink_but_send_nothing_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(batch: Sequence[Outgoing]) -> list[Rejected]:
        bench.client.take(batch[1:])
        return [Rejected(0, "bad")]

    full = [True]
    add = bench.delivery._dead.add

    def adding(letters: Any) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        add(letters)

    monkeypatch.setattr(bench.delivery._dead, "add", adding)
    bench.client.script = [refuse]
    bench.put(10)
    bench.delivery.start()
    until(lambda: bench.delivery.status()["retries"] >= 2)
    assert "No space left" in bench.delivery.status()["trouble"]
    assert bench.acked == 0
    full[0] = False
    until(lambda: bench.acked == 1)
    assert bench.client.calls == 1


def test_a_stop_delivers_what_is_there(bench: Bench) -> None:
    bench.put(25)
    bench.delivery.start()
    bench.stop()
    assert bench.client.ids() == ids(25)
    assert bench.acked == 1


def test_a_stop_does_not_wait_for_a_dead_sink(bench: Bench) -> None:
    bench.client.down = "siem is dead: mend it"
    bench.put(25)
    bench.delivery.start()
    until(lambda: bench.client.calls > 1)
    began = bench.client.calls
    bench.stop(0.2)
    assert bench.client.taken == []
    assert bench.acked == 0
    # Tried again on the way out, without a storm.
    assert bench.client.calls - began < 10


def test_a_client_that_hangs_is_told_to_come_back(bench: Bench) -> None:
    def hang(batch: Sequence[Outgoing]) -> list[Rejected]:
        bench.client.aborted.wait(60)
        raise Unavailable("siem hangs: mend it")

    bench.client.script = [hang]
    bench.put(1)
    bench.delivery.start()
    until(lambda: bench.client.calls == 1)
    bench.delivery.abort()
    assert bench.delivery.join(60)


def test_a_hangup_reaches_the_client_even_while_it_is_down(bench: Bench) -> None:
    bench.client.down = "siem is dead: mend it"
    bench.put(1)
    bench.delivery.start()
    until(lambda: bench.client.calls > 0)
    bench.delivery.reopen()
    until(lambda: bench.client.reopened == 1)


def test_what_is_gathered_goes_out_at_its_time_and_at_the_stop(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Told(), treatment=Treatment(aggregate_seconds=0.2))
    bench.put(3, event_type="alert", alert={"signature_id": 1})
    bench.put(1, event_type="flow")
    bench.delivery.start()
    until(lambda: len(bench.client.taken) == 2)
    assert bench.client.taken[0].event["event_type"] == "flow"
    assert bench.client.taken[1].event["peeltap"]["count"] == 3
    until(lambda: bench.acked == 2)
    bench.put(2, event_type="alert", alert={"signature_id": 1})
    bench.stop()
    assert bench.client.taken[2].event["peeltap"]["count"] == 2
    assert bench.acked == 3


def test_no_fault_of_ours_ends_the_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    take = bench.spool.take
    faults = [True]

    def taking(*arguments: Any) -> Any:
        if faults:
            faults.pop()
            raise RuntimeError("unforeseen")
        return take(*arguments)

    monkeypatch.setattr(bench.spool, "take", taking)
    bench.put(1)
    bench.delivery.start()
    until(lambda: bench.acked == 1)
    assert bench.said == ["siem: RuntimeError: unforeseen"]
    assert bench.delivery.status()["failures"] == 1


def test_what_a_sink_will_not_get_is_an_event_of_its_own() -> None:
    event, line = announcement("siem", Gap(7, 700), 12)
    assert orjson.loads(line) == event
    assert event["event_type"] == "peeltap"
    told = event["peeltap"]
    assert {key: told[key] for key in ("kind", "sink", "events", "bytes")} == {
        "kind": "backlog_dropped",
        "sink": "siem",
        "events": 7,
        "bytes": 700,
    }
    assert announcement("siem", Gap(7, 700), 12)[0]["peeltap"]["id"] == told["id"]
