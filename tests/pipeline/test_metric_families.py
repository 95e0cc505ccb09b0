"""Families: each once, with the labels of all who add to it."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pipeline.metric_families import MAX_LABELS, Families, is_number, number, part


def exposed(found: Families) -> list[str]:
    class Given(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from found

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("# HELP")]


def test_a_family_comes_once_whoever_adds_to_it() -> None:
    found = Families()
    for worker in ("1", "2"):
        found.of(worker=worker).gauge("up", "Whether it is up", True)
        found.of(worker=worker).of(sink="a").numbers("sink", "Sink", {"lines": 3, "backlog": 4})
    assert exposed(found) == [
        "# TYPE peeltap_up gauge",
        'peeltap_up{worker="1"} 1.0',
        'peeltap_up{worker="2"} 1.0',
        "# TYPE peeltap_sink_backlog gauge",
        'peeltap_sink_backlog{sink="a",worker="1"} 4.0',
        'peeltap_sink_backlog{sink="a",worker="2"} 4.0',
        "# TYPE peeltap_sink_lines_total counter",
        'peeltap_sink_lines_total{sink="a",worker="1"} 3.0',
        'peeltap_sink_lines_total{sink="a",worker="2"} 3.0',
    ]


def test_what_is_known_counts_from_0_and_a_family_is_there_before_that() -> None:
    found = Families()
    found.counters("drops", "Drops", "reason", {"full": 2}, ("full", "down"))
    found.counters("headers", "Headers", "codec", None)
    assert exposed(found) == [
        "# TYPE peeltap_drops_total counter",
        'peeltap_drops_total{reason="full"} 2.0',
        'peeltap_drops_total{reason="down"} 0.0',
        "# TYPE peeltap_headers_total counter",
    ]


def test_odd_values_and_any_number_of_names() -> None:
    found = Families()
    found.numbers("x", "X", {"a": True, "b": None, "c": "7", "d": {}, "e": 1.5})
    found.numbers("y", "Y", "nothing")
    found.counters("z", "Z", "name", {str(n): n for n in range(MAX_LABELS * 2)})
    assert len(exposed(found)) == 2 + 1 + MAX_LABELS
    assert part({"a": 5}, "a") == part({}, "b") == {}
    assert (number(None), number("x"), number(True), number(2)) == (0, 0, 1, 2)
    assert not is_number(True)
