"""The one object that control socket and metrics give: parts put together, workers added up."""

from typing import Any

from pipeline.status_report import Reporter


class Part:
    def __init__(self, **status: Any) -> None:
        self._status = status

    def status(self) -> dict[str, Any]:
        return self._status


def worker(number: int, capture: str = "up", output: str = "up", packets: int = 0) -> Part:
    return Part(
        worker=number,
        capture_state=capture,
        output_state=output,
        packets={"in": packets, "frames_out": packets, "dropped": 1},
        connections={"stripped": packets},
        events={"forged_header": 1},
        capture={"bytes": 10 * packets, "kernel_drops": 2},
        output={"dropped": {"full": 3}},
    )


def reporter(*workers: Part) -> Reporter:
    return Reporter(
        config="/etc/peeltap/peeltap.yaml",
        mode="strip",
        interface="br1",
        workers=workers,
        outlet=Part(name="vtap0", kind="tap"),
        parts={
            "events": lambda: {"enricher": {"types": {"alert": 5}}},
            "suricata": lambda: {"state": "ready"},
        },
    )


def test_workers_are_added_up() -> None:
    report = reporter(worker(0, packets=3), worker(1, packets=4)).report()
    assert report["packets"]["in"] == 7
    assert report["connections"] == {"stripped": 7}
    assert report["oddities"] == {"forged_header": 2}
    assert report["capture"] == {
        "interface": "br1",
        "state": "up",
        "bytes": 70,
        "kernel_drops": 4,
    }
    assert report["output"]["dropped"] == {"full": 6}
    assert (report["output"]["name"], report["output"]["state"]) == ("vtap0", "up")
    assert [one["worker"] for one in report["workers"]] == [0, 1]
    assert report["service"]["state"] == "starting"


def test_a_part_that_comes_later_is_told_of() -> None:
    told = reporter()
    assert "page" not in told.report()
    told.add("page", lambda: {"viewers": 1})
    assert told.report()["page"] == {"viewers": 1}


def test_the_worst_state_is_told() -> None:
    assert reporter(worker(0), worker(1, "down")).report()["capture"]["state"] == "down"
    assert reporter(worker(0, "gone"), worker(1, "down")).report()["capture"]["state"] == "gone"
    assert reporter(worker(0, output="gone")).report()["output"]["state"] == "gone"


def test_a_worker_that_has_not_begun_counts_nothing() -> None:
    waiting = Part(worker=0, capture_state="gone", output_state="up")
    report = reporter(waiting).report()
    assert report["packets"] == {}
    assert report["capture"]["state"] == "gone"


def test_rates_are_of_what_a_person_asks_for() -> None:
    workers = [worker(0)]
    reports = reporter(*workers)
    reports.tick(0.0)
    workers[0]._status.update(worker(0, packets=20)._status)
    reports.tick(2.0)
    rates = reports.report()["rates"]
    assert rates == {
        "packets_in": 10.0,
        "bytes_in": 100.0,
        "frames_out": 10.0,
        "packets_dropped": 0.0,
        "connections": 10.0,
        "events": 0.0,
    }


def test_one_line_for_the_service_manager() -> None:
    assert reporter(worker(0, "gone")).line() == ("br1 gone, vtap0 up, Suricata ready, 0 packets/s")
