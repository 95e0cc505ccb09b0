"""What viewers get, turn by turn, and what a slow one misses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from pipeline.page.decoys import Decoys
from pipeline.page.feed import QUEUE, Feed, Viewer
from pipeline.page.watch import Watch
from tests.pipeline.page.parts import line
from tests.pipeline.samples import REPORT

Messages = dict[str, Any]


def parsed(data: bytes) -> list[tuple[str, Any]]:
    """Server-sent events as name and value."""
    found = []
    for one in data.decode().split("\n\n")[:-1]:
        event, text = one.split("\n")
        found.append((event.removeprefix("event: "), orjson.loads(text.removeprefix("data: "))))
    return found


def feed(watch: Watch, said: list[str], report: Callable[[], Any] = lambda: REPORT) -> Feed:
    return Feed(watch, Decoys(), report, say=lambda _, text: said.append(text), turn_seconds=0.001)


async def wanted(viewer: Viewer, kind: str) -> Any:
    """The next message of a kind."""
    while True:
        for name, value in parsed(await viewer.next()):
            if name == kind:
                return value


def ports(alerts: list[dict[str, Any]]) -> list[int]:
    return [alert["attacker"]["port"] for alert in alerts]


def test_a_viewer_sees_what_was_and_what_comes() -> None:
    async def play() -> None:
        watch = Watch()
        watch.put(line(port=1))
        fed = feed(watch, [])
        assert fed.status()["viewers"] == 0
        viewer = fed.join()
        assert watch.is_looked_at
        assert (await wanted(viewer, "map"))["frames"] == []
        assert ports(await wanted(viewer, "alerts")) == [1]
        assert (await wanted(viewer, "figures"))["tracked"] == 4
        watch.put(line(port=2) + line("flow", port=3))
        assert ports(await wanted(viewer, "alerts")) == [2]
        # Who comes later sees the last ones at once.
        second = fed.join()
        names = dict(parsed(await second.next()))
        assert [box["connections"] for box in names["map"]["frames"][0]["decoys"]] == [1]
        assert fed.status() == {
            "viewers": 2,
            "alerts": 2,
            "passed": 0,
            "missed": 0,
            "failures": 0,
        }
        for one in (viewer, second):
            fed.part(one)
        assert not watch.is_looked_at
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)

    asyncio.run(play())


def test_a_slow_viewer_misses_the_oldest_and_holds_nobody() -> None:
    async def play() -> None:
        watch = Watch()
        fed = feed(watch, [])
        quick, slow = fed.join(), fed.join()
        seen: list[int] = []
        for first in range(1000, 1000 + 10 * QUEUE, QUEUE):
            watch.put(b"".join(line(port=port) for port in range(first, first + QUEUE)))
            while len(seen) < first - 1000 + QUEUE:
                seen += ports(await wanted(quick, "alerts"))
        assert seen == list(range(1000, 1000 + 10 * QUEUE))
        told = dict(parsed(await slow.next()))
        assert ports(told["alerts"]) == seen[-QUEUE:]
        assert told["missed"] == 9 * QUEUE
        assert fed.status()["missed"] == 9 * QUEUE
        fed.part(slow)
        fed.part(quick)
        assert fed.status()["missed"] == 9 * QUEUE

    asyncio.run(play())


def test_a_fault_of_ours_is_said_and_the_page_goes_on() -> None:
    answers = iter([RuntimeError("a fault"), REPORT])

    def report() -> Any:
        answer = next(answers, REPORT)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def play() -> None:
        said: list[str] = []
        fed = feed(Watch(), said, report)
        viewer = fed.join()
        assert (await wanted(viewer, "figures"))["suricata"] == "ready"
        assert said == ["page: RuntimeError: a fault"]
        assert fed.status()["failures"] == 1
        fed.part(viewer)

    asyncio.run(play())
