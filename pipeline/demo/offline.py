"""`peeltap demo --offline`: recorded attacks, as Suricata sees them without and with Peeltap.

    recordings ──┬─ as captured ──────────────────────> Suricata ──> what it says alone
                 └─ peeltap replay --mode restore ────> Suricata ──> what it says with Peeltap

The recordings are those of the tests, made between real programs; fixtures/captures says how.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import peeltap_core

from pipeline import config
from pipeline.demo.sides import Side, read_side
from pipeline.errors import RunError
from pipeline.progress import Progress
from pipeline.replay import Request, replay
from pipeline.summary import Summary
from suricata import process
from suricata.settings import SuricataSettings

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
"""Beside the packages, in a checkout as in an installation."""

RECORDINGS = (
    "http-proxy-v2",
    "ssh-proxy-v2",
    "smtp-proxy-v1",
    "https-proxy-v2",
    "logins-proxy-v2",
    "ipv6-on-ipv4-magic",
)


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
            "demo": "offline",
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
