"""`peeltap demo`: recorded attacks, seen by the installed Suricata without and with Peeltap.

    recordings ──┬─ as captured ──────────────────────> Suricata ──> what it says alone
                 └─ peeltap replay --mode restore ────> Suricata ──> what it says with Peeltap

The recordings are those of the tests, made between real programs; fixtures/captures says how.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import peeltap_core

from pipeline import config
from pipeline.errors import RunError
from pipeline.progress import Progress
from pipeline.replay import Request, replay
from pipeline.summary import Summary
from reassembly.records import canonical_ip
from suricata import process
from suricata.settings import SuricataSettings
from suricata.summary import AlertRow, AlertSummary

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
"""Beside the packages, in a checkout as in an installation."""

RECORDINGS = (
    "http-proxy-v2",
    "ssh-proxy-v2",
    "smtp-proxy-v1",
    "https-proxy-v2",
    "logins-proxy-v2",
    "ipv6-on-ipv4-magic",
)
UNDERSTOOD = ("HTTP requests", "TLS server names", "SSH clients", "SMTP senders")
"""What Suricata can only know if it reads what the attacker sends.

Of most protocols it recognises the server's half even behind a header. Then there is an `http`
event whose method and URL are the header's bytes, an `ssh` event without a client.
"""

_METHOD = re.compile(r"[A-Z]+")


@dataclass
class Side:
    """What one Suricata said."""

    packets: int = 0
    types: Counter[str] = field(default_factory=Counter)
    understood: Counter[str] = field(default_factory=Counter)
    alerts: Sequence[AlertRow] = ()
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Connections by who it says connected to whom."""
    example: dict[str, Any] | None = None
    """The first event that tells of an attack."""

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints."""
        flows = [
            {"source": source, "destination": destination, "connections": count}
            for (source, destination), count in self.flows.most_common()
        ]
        return {
            "packets": self.packets,
            "understood": {name: self.understood[name] for name in UNDERSTOOD},
            "events": dict(self.types.most_common()),
            "alerts": [asdict(row) for row in self.alerts],
            "flows": flows,
        }


@dataclass
class Comparison:
    """Both sides of the demo."""

    recordings: Sequence[str]
    version: str
    alone: Side
    peeltap: Side
    summary: Summary
    kept: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints; docs/replay.md lists its keys."""
        return {
            "recordings": list(self.recordings),
            "suricata": self.version,
            "without": self.alone.as_dict(),
            "with": self.peeltap.as_dict(),
            "replay": self.summary.as_dict(),
        }


def compare(keep: Path | None, progress: Progress) -> Comparison:
    """Run Suricata on the recordings as they are, and on what Peeltap makes of them.

    `keep` is a directory for all files that come about. Raises RunError where Suricata or the
    recordings are missing.
    """
    captures = [FIXTURES / "captures" / f"{name}.pcap" for name in RECORDINGS]
    rules = FIXTURES / "rules" / "peeltap.rules"
    for path in (*captures, rules, FIXTURES / "peeltap.yaml"):
        if not path.is_file():
            raise RunError(f"{path}: the demo's recordings are not there; run it from a checkout")
    inputs = [str(path) for path in captures]
    settings = config.load(FIXTURES / "peeltap.yaml")
    with contextlib.ExitStack() as stack:
        if keep is None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peeltap-")))
        else:
            scratch = keep
            try:
                scratch.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"{keep}: cannot be written: {error.strerror}") from None
        alone = _alone(inputs, settings.suricata, rules, scratch, progress)
        request = Request(
            inputs=inputs,
            out=str(scratch / "clean.pcap"),
            flows=str(scratch / "flows.jsonl"),
            eve=str(scratch / "with-peeltap.json"),
            suricata=True,
            rules=[rules],
            mode="restore",
        )
        summary = replay(request, settings, progress)
        if summary.interrupted:
            raise KeyboardInterrupt
        if summary.failure is not None or summary.events is None:
            raise RunError(summary.failure or "Suricata did not run")
        with_peeltap = read_side(scratch / "with-peeltap.json")
        # Their addresses come from flow records, in the short form.
        with_peeltap.alerts = summary.events.alerts
        with_peeltap.packets = summary.stats["packets"]["emitted"]
    version = summary.events.version or ""
    return Comparison(RECORDINGS, version, alone, with_peeltap, summary, keep)


def _alone(
    inputs: Sequence[str],
    settings: SuricataSettings,
    rules: Path,
    scratch: Path,
    progress: Progress,
) -> Side:
    """Merge the recordings untouched, and let Suricata read that."""
    raw = scratch / "as-captured.pcap"
    # An engine that knows no leg touches nothing.
    core = peeltap_core.Replay(orjson.dumps({"codecs": [], "gateways": []}), inputs, str(raw))
    while core.step(1 << 20):
        pass
    progress.stage("Suricata on the recordings as they are")
    with tempfile.TemporaryDirectory(prefix="peeltap-") as logs:
        try:
            ran = process.run(
                raw,
                settings.model_copy(update={"rules": [rules]}),
                Path(logs),
                progress=lambda done, total: progress.update(0, done, total),
            )
        except process.SuricataError as error:
            raise RunError(str(error)) from None
        kept = scratch / "without-peeltap.json"
        kept.write_bytes(ran.eve.read_bytes())
    side = read_side(kept)
    side.packets = core.stats()["packets"]["emitted"]
    return side


def read_side(eve: Path) -> Side:
    """Add up a file of events."""
    side, alerts = Side(), AlertSummary()
    with eve.open("rb") as stream:
        for line in stream:
            event = orjson.loads(line)
            kind = event.get("event_type", "")
            side.types[kind] += 1
            for name in _understood(kind, event.get(kind)):
                side.understood[name] += 1
            if kind == "flow":
                side.flows[canonical_ip(event["src_ip"]), canonical_ip(event["dest_ip"])] += 1
            elif kind == "alert":
                alerts.add(event, None)
                side.example = side.example or event
    side.alerts = alerts.rows()
    return side


def _understood(kind: str, said: Any) -> Iterator[str]:
    """Tell what of the attacker's own words an event holds."""
    if not isinstance(said, dict):
        return
    if kind == "http" and _METHOD.fullmatch(said.get("http_method", "")):
        yield "HTTP requests"
    elif kind == "tls" and "sni" in said:
        yield "TLS server names"
    elif kind == "ssh" and "client" in said:
        yield "SSH clients"
    elif kind == "smtp" and "helo" in said:
        yield "SMTP senders"
