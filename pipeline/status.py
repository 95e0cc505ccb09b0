"""`peeltap status`: what a running service says, as a page for people or as JSON for machines."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.control import Client, ControlError, RefusedError
from pipeline.errors import RunError
from pipeline.service_settings import WORKERS_SOCKET
from pipeline.summary import VERDICTS, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Status = Mapping[str, Any]

DEFAULT_SOCKET: Final = Path("/run/peeltap/control.sock")
DEFAULT_WORKERS: Final = Path("/var/lib/peeltap") / WORKERS_SOCKET
WATCH_SECONDS: Final = 1.0


def socket_of(socket: str | None, config: str | None, *, workers: bool = False) -> Path:
    """The socket to ask: the one named, the configuration's, or the usual one.

    `workers`: that of `peeltap enrich --workers`, as it is for a configuration of workers alone.
    """
    if socket is not None:
        return Path(socket)
    if config is not None:
        from pipeline.config import is_of_workers, load_live, load_worker

        if workers or is_of_workers(config):
            return load_worker(config)[1].workers_socket
        return load_live(config)[1].control.socket
    # Where nothing is captured, those who ask without a word mean the workers.
    alone = os.path.exists(DEFAULT_WORKERS) and not os.path.exists(DEFAULT_SOCKET)  # noqa: PTH110
    if workers or alone:
        return DEFAULT_WORKERS
    return DEFAULT_SOCKET


def ask(socket: Path, command: str = "status") -> dict[str, Any]:
    """Ask once; raises RunError with a sentence when nobody answers."""
    try:
        with Client(socket) as client:
            return client.ask(command)
    except ControlError as error:
        raise RunError(str(error)) from error


def watch(socket: Path, console: Console, seconds: float = WATCH_SECONDS) -> None:
    """Show the page anew every second until Ctrl-C; raises RunError when the service ends."""
    from rich.live import Live

    try:
        with Client(socket) as client, Live(console=console, auto_refresh=False) as shown:
            while True:
                shown.update(page(client.ask("status")), refresh=True)
                time.sleep(seconds)
    except KeyboardInterrupt:
        # The ordinary end of watching.
        return
    except RefusedError as error:
        raise RunError(str(error)) from error
    except ControlError as error:
        raise RunError(str(error)) from error


def page(status: Status) -> RenderableType:
    """The page: packets, connections, Suricata, events, and what should be looked at.

    Of workers: each of them, what Redis has, and events.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    body: list[RenderableType] = [_title(status)]
    for title, rows in _sections(status):
        if rows:
            body += [Text(title, style="bold"), Padding(_table(rows), (0, 0, 0, 2), expand=False)]
    complaints = warnings(status)
    if complaints:
        body.append(Text("To be looked at", style="bold red"))
        body += [Padding(Text(printable(text)), (0, 0, 0, 2)) for text in complaints]
    return Group(*body)


Row = tuple[str, str, str]
"""A number, what it counts, and what else there is to say."""


def _sections(status: Status) -> Sequence[tuple[str, list[Row]]]:
    if _is_of_workers(status):
        return (
            ("Workers", worker_rows(status)),
            ("Redis", group_rows(status)),
            ("Events", event_rows(status)),
        )
    return (
        ("Packets", packet_rows(status)),
        ("Connections", connection_rows(status)),
        ("Suricata", suricata_rows(status.get("suricata") or {})),
        ("Events", event_rows(status)),
    )


def _is_of_workers(status: Status) -> bool:
    return (status.get("service") or {}).get("mode") == "workers"


def packet_rows(status: Status) -> list[Row]:
    """Packets in and out a second and in all; drops by place and reason."""
    packets, rates = status.get("packets") or {}, status.get("rates") or {}
    rows = [
        (_n(packets.get("in", 0)), "in", _rate(rates, "packets_in", rates.get("bytes_in"))),
        (_n(packets.get("frames_out", 0)), "out", _rate(rates, "frames_out")),
    ]
    if packets.get("merged"):
        rows.append((_n(packets["merged"]), "merged away", _reasons(status.get("merged"))))
    if packets.get("held"):
        rows.append((_n(packets["held"]), "held", "waiting for their header"))
    dropped = {
        **{f"by configuration: {name}": n for name, n in (status.get("dropped") or {}).items()},
        "by the kernel, ring full": (status.get("capture") or {}).get("kernel_drops", 0),
        **{
            f"by the output: {name}": n
            for name, n in ((status.get("output") or {}).get("dropped") or {}).items()
        },
    }
    rows += [(_n(n), "dropped", why) for why, n in dropped.items() if n]
    return rows


def connection_rows(status: Status) -> list[Row]:
    """Connections by verdict."""
    rates = status.get("rates") or {}
    counted = {name: n for name, n in (status.get("connections") or {}).items() if n}
    rows = [(_n(n), name, VERDICTS.get(name, "")) for name, n in counted.items()]
    tracked = (status.get("table") or {}).get("tracked")
    if tracked is not None:
        rows.insert(0, (_n(tracked), "tracked now", _rate(rates, "connections")))
    return rows


def suricata_rows(suricata: Status) -> list[Row]:
    """What its supervisor says, and what it says itself of packets and rules."""
    state = str(suricata.get("state", "unknown"))
    rows = [("", state, _list(_named(suricata, "version"), _named(suricata, "pid")))]
    if suricata.get("restarts"):
        rows.append((_n(suricata["restarts"]), "restarts", str(suricata.get("last_error") or "")))
    rules = suricata.get("rules") or {}
    if rules.get("loaded") is not None:
        failed = f"{_n(rules['failed'])} refused" if rules.get("failed") else ""
        rows.append((_n(rules["loaded"]), "rules", failed))
    stats = suricata.get("stats") or {}
    for name, about in (("capture.kernel_packets", "seen"), ("capture.kernel_drops", "dropped")):
        if name in stats:
            rows.append((_n(stats[name]), f"packets {about}", ""))
    return rows


def event_rows(status: Status) -> list[Row]:
    """Events by type, lag, and each sink."""
    events, rates = status.get("events") or {}, status.get("rates") or {}
    enricher = events.get("enricher") or {}
    types = sorted((enricher.get("types") or {}).items(), key=lambda item: -item[1])
    rows = [(_n(sum(n for _, n in types)), "corrected", _rate(rates, "events"))]
    rows += [(_n(n), name, "") for name, n in types[:8]]
    if enricher.get("waiting"):
        rows.append((_n(enricher["waiting"]), "waiting", "for their flow record"))
    if enricher.get("rejected"):
        rows.append((_n(enricher["rejected"]), "rejected", "lines that are no events"))
    if events.get("lag_seconds") is not None:
        backlog = events.get("backlog_bytes")
        unread = f"{_n(backlog)} bytes not read yet" if backlog else ""
        rows.append((f"{events['lag_seconds']:.1f} s", "behind", unread))
    for name, sink in (events.get("sinks") or {}).items():
        for key, about in _OF_A_SINK:
            if sink.get(key):
                rows.append((_n(sink[key]), key, f"{about} {name}"))
    return rows


def worker_rows(status: Status) -> list[Row]:
    """Each worker of this machine: whether it is up, its lag, and how often it was begun again."""
    rows = []
    for one in status.get("workers") or []:
        events = one.get("events") or {}
        lag = events.get("lag_seconds")
        parts = (events.get("source") or {}).get("partitions")
        words = _list(
            _named(one, "pid"),
            "" if parts is None else f"{len(parts)} partitions",
            "" if lag is None else f"{lag:.1f} s behind",
            f"restarts: {one['restarts']}" if one.get("restarts") else "",
        )
        rows.append((str(one.get("worker", "?")), str(one.get("state", "unknown")), words))
    return rows


def group_rows(status: Status) -> list[Row]:
    """What Redis has: events that wait, are pending, were claimed; workers of all machines."""
    group, source = status.get("group") or {}, (status.get("events") or {}).get("source") or {}
    rows = []
    for key, about in (
        ("waiting", f"events, in {group.get('inbox')} and its partitions"),
        ("pending", "of these: read, not acknowledged"),
        ("workers", "on all machines"),
    ):
        if group.get(key) is not None:
            rows.append((_n(group[key]), key, about))
    if group.get("partitions"):
        rows.append((_n(group["partitions"]), "partitions", f"{group.get('held', 0)} of them here"))
    for key, about in (
        ("claimed", "events that dead workers had read"),
        ("lost", "partitions, to others, since a worker here was silent"),
    ):
        if source.get(key):
            rows.append((_n(source[key]), key, about))
    return rows


_OF_A_SINK: Final = (
    ("backlog", "bytes, for"),
    ("dropped", "since they were too many for"),
    ("rejected", "by"),
)


def warnings(status: Status) -> list[str]:
    """What a person should look at."""
    found = list(status.get("complaints") or [])
    for part in ("capture", "output"):
        state = (status.get(part) or {}).get("state", "up")
        name = (status.get(part) or {}).get("interface" if part == "capture" else "name", part)
        if state != "up":
            found.append(f"{name} is {state}")
    found += (status.get("output") or {}).get("complaints") or []
    suricata = status.get("suricata") or {}
    if suricata.get("state") in ("backoff", "failed") and suricata.get("last_error"):
        found.append(f"Suricata: {suricata['last_error']}")
    events = status.get("events") or {}
    for part in (events, events.get("spool") or {}, *(events.get("sinks") or {}).values()):
        if part.get("trouble"):
            found.append(f"events: {part['trouble']}")
    for name in ("store", "flows", "checkpoint", "page"):
        if (status.get(name) or {}).get("trouble"):
            found.append(f"{name}: {(status.get(name) or {})['trouble']}")
    return [str(text) for text in found]


def _title(status: Status) -> RenderableType:
    from rich.text import Text

    service = status.get("service") or {}
    capture, output = status.get("capture") or {}, status.get("output") or {}
    words = [
        f"Peeltap {service.get('version', '')}",
        f"{service.get('state', '')} for {_duration(service.get('uptime_seconds', 0))}",
    ]
    if _is_of_workers(status):
        words.append(f"{len(status.get('workers') or [])} workers")
    else:
        words.append(f"{capture.get('interface', '?')} -> {output.get('name', '?')}")
        words.append(str(service.get("mode", "")))
    return Text(printable(" · ".join(words)), style="bold cyan")


def _table(rows: Sequence[Row]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for justify in ("right", "left", "left"):
        table.add_column(justify=justify)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _rate(rates: Status, name: str, more_bytes: Any = None) -> str:
    if name not in rates:
        return ""
    text = f"{rates[name]:,.0f}/s"
    return f"{text}, {more_bytes * 8 / 1e6:,.1f} Mbit/s" if more_bytes else text


def _reasons(counts: Any) -> str:
    return ", ".join(f"{name} {_n(n)}" for name, n in (counts or {}).items())


def _named(values: Status, key: str) -> str:
    return f"{key} {values[key]}" if values.get(key) is not None else ""


def _list(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _duration(seconds: float) -> str:
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"


def _n(number: float) -> str:
    return f"{number:,}"
