"""What the running service says of itself, judged: its status in, findings out.

The status is that of the control socket (`pipeline.status_report`). It may be of another version:
what is not there is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.doctor.finding import Finding, fail, ok, warn

Status = Mapping[str, Any]

LATE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said, or why it said nothing; it may run and not answer us."""

    runs: bool
    status: Status | None
    reason: str | None


def findings(answer: Answer) -> Iterator[Finding]:
    """All that the service says."""
    status, reason = answer.status, answer.reason or "it does not run"
    if not answer.runs:
        yield warn("service", reason, "this was a look before the run; nothing is to be done")
        return
    if status is None:
        yield warn(
            "service", reason, "run peeltap doctor as root; if it stays mute, restart the service"
        )
        return
    told = _of(status, "service")
    uptime = told.get("uptime_seconds")
    since = f" for {uptime:,.0f} s" if isinstance(uptime, int | float) else ""
    yield ok("service", f"it is {told.get('state', 'running')}{since}, pid {told.get('pid')}")
    if told.get("mode") == "workers":
        yield from _workers(status)
        yield from _events(_of(status, "events"))
        yield from _store(_of(status, "store"))
        return
    yield from _capture(_of(status, "capture"))
    yield from _connections(status)
    yield from _output(_of(status, "output"))
    yield from _suricata(_of(status, "suricata"))
    yield from _events(_of(status, "events"))
    trouble = _of(status, "flows").get("trouble")
    if trouble:
        yield fail("flows", str(trouble), "see flows.redis; records are kept and sent later")
    for part in ("store", "checkpoint"):
        trouble = _of(status, part).get("trouble")
        if trouble:
            yield fail(part, str(trouble), "see the directory under state")


def _workers(status: Status) -> Iterator[Finding]:
    topic = "workers"
    workers = status.get("workers")
    known = workers if isinstance(workers, list) else []
    up = [one for one in known if isinstance(one, Mapping) and one.get("up")]
    complaints = status.get("complaints")
    for complaint in complaints if isinstance(complaints, list) else ():
        yield warn(topic, str(complaint), "see the log of the workers, at level error")
    if not up:
        yield fail(topic, "none is up: nothing is corrected here", "see their log")
        return
    group = _of(status, "group")
    yield ok(
        topic,
        f"{len(up)} of {len(known)} are up, with {_count(group, 'held')} of"
        f" {_count(group, 'partitions')} partitions",
    )


def _store(store: Status) -> Iterator[Finding]:
    if store.get("trouble"):
        yield fail("store", str(store["trouble"]), "see flows.redis; events wait meanwhile")


def _capture(capture: Status) -> Iterator[Finding]:
    topic, name = "capture", capture.get("interface", "the interface")
    if capture.get("state", "up") != "up":
        yield fail(
            topic,
            f"{name} is {capture['state']}: nothing is captured",
            f"ip link set {name} up, or make it again; the service waits for it",
        )
        return
    received, lost = _count(capture, "kernel_received"), _count(capture, "kernel_drops")
    if lost:
        share = f", {100 * lost / received:.2g} %" if received else ""
        yield warn(
            topic,
            f"the kernel has dropped {lost:,} packets{share}: the ring was full",
            "raise capture.ring_mb or workers, or give the machine more to run on",
        )
    elif not received and not _count(capture, "packets"):
        yield warn(
            topic,
            f"no packet came from {name} yet",
            "is it the interface that the proxied connections cross, and does the filter let them "
            "through? peeltap doctor --canary tries it",
        )
    else:
        packets = _count(capture, "packets")
        yield ok(topic, f"{packets:,} packets came from {name}, none was dropped")


def _connections(status: Status) -> Iterator[Finding]:
    topic = "connections"
    verdicts = {
        str(name): n for name, n in _of(status, "connections").items() if isinstance(n, int) and n
    }
    if not verdicts and not _count(_of(status, "table"), "connections"):
        if _count(_of(status, "packets"), "in"):
            yield warn(
                topic,
                "packets come, but no connection is on a leg of the configuration",
                "compare from and to under gateways with what is on the wire",
            )
        return
    for verdict, about, remedy in (
        (
            "malformed",
            "had no right header where one is required",
            "see which proxies connect, and required under gateways",
        ),
        (
            "untrusted",
            "brought a header from an address that is not trusted: somebody forges headers",
            "see who it is (verdict untrusted in the flow records); trust it under gateways only "
            "if it is a proxy",
        ),
    ):
        if verdicts.get(verdict):
            yield warn(topic, f"{verdicts[verdict]:,} {about}", remedy)
    if verdicts.get("midstream") and not verdicts.get("stripped"):
        yield warn(
            topic,
            "all are older than the capture: nothing is known of their headers",
            "new connections will be; nothing is to be done",
        )
    elif verdicts:
        yield ok(topic, ", ".join(f"{n:,} {name}" for name, n in verdicts.items()))


def _output(output: Status) -> Iterator[Finding]:
    topic, name = "output", output.get("name", "the output")
    if output.get("state", "up") != "up":
        yield fail(
            topic,
            f"{name} is {output['state']}: Suricata gets nothing",
            f"ip link set {name} up; a tap that was deleted is made again by the service",
        )
    for complaint in output.get("complaints") or ():
        text, _, remedy = str(complaint).partition("; ")
        yield fail(topic, text, remedy or "see the service's log")
    dropped = {str(k): n for k, n in _of(output, "dropped").items() if isinstance(n, int) and n}
    if dropped:
        reasons = ", ".join(f"{name} {n:,}" for name, n in dropped.items())
        yield warn(
            topic,
            f"frames were lost on the way into {name}: {reasons}",
            "too_long: raise the interface's MTU; full: the receiver is too slow",
        )
    elif output.get("state", "up") == "up":
        yield ok(topic, f"{_count(output, 'frames'):,} frames went into {name}, none was lost")


def _suricata(suricata: Status) -> Iterator[Finding]:
    topic, state = "suricata", suricata.get("state")
    if state in ("backoff", "failed"):
        yield fail(
            topic,
            f"it does not stay up ({state}): {suricata.get('last_error') or 'no reason is known'}",
            "correct what it says; peeltap goes on capturing meanwhile",
        )
    elif state == "starting":
        yield warn(topic, "it is starting", "wait: large sets of rules take a minute")
    elif state is not None:
        restarts = _count(suricata, "restarts")
        again = f", restarted {restarts} times" if restarts else ""
        yield ok(topic, f"it is {state}{again}")
    rules = _of(suricata, "rules")
    if _count(rules, "failed"):
        yield warn(
            "rules",
            f"Suricata refused {_count(rules, 'failed'):,} of the rules",
            "peeltap doctor, while the service is stopped, names the first; see its engine log",
        )
    drops = _count(_of(suricata, "stats"), "capture.kernel_drops")
    if drops:
        yield warn(
            topic,
            f"it was too slow for {drops:,} packets",
            "raise suricata.ring_mb or suricata.threads, or use fewer rules",
        )


def _events(events: Status) -> Iterator[Finding]:
    topic = "events"
    if not events:
        return
    well = True
    if events.get("trouble"):
        well = False
        yield fail(topic, str(events["trouble"]), "see the key events, and Suricata's own state")
    sinks = events.get("sinks")
    named = sinks.items() if isinstance(sinks, Mapping) else ()
    for name, sink in named:
        trouble = sink.get("trouble") if isinstance(sink, Mapping) else None
        if trouble:
            well = False
            yield fail(topic, f"{name}: {trouble}", "make room, or correct the key sinks")
    lag = events.get("lag_seconds")
    if isinstance(lag, int | float) and lag > LATE_SECONDS:
        well = False
        yield warn(
            topic,
            f"the last ones were {lag:,.0f} s late",
            "look for a slow sink, or a Suricata that is behind",
        )
    if well:
        late = f", {lag:.1f} s behind" if isinstance(lag, int | float) else ""
        yield ok(topic, f"they are written{late}")


def _of(status: Status, key: str) -> Status:
    value = status.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(status: Status, key: str) -> int:
    value = status.get(key)
    return int(value) if isinstance(value, int | float) else 0
