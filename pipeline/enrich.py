"""`peeltap enrich`: Suricata's events in, the same events with true addresses out.

Flow records come from a file of JSON lines, which is read once, or from a store (`.sqlite`, `.db`),
which may still grow: events then wait a moment for their record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import RunError, UsageError
from pipeline.outputs import STANDARD, STORE_SUFFIXES, Output, refuse_clashes
from pipeline.summary import Events
from reassembly.records import Garbage, read_records
from reassembly.store import MemoryStore, SqliteStore, StoreError
from suricata.enrich import WAIT_EVENTS
from suricata.streams import EnrichError, enrich_file


@dataclass
class Corrected:
    """What a run came to."""

    records: int = 0
    events: Events = field(default_factory=Events)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints; docs/replay.md lists its keys."""
        return {
            "records": self.records,
            "interrupted": self.interrupted,
            **self.events.as_dict(),
            "warnings": self.warnings,
        }


def enrich(
    *, flows: str, source: str, out: str, rejects: str | None = None, community_id_seed: int = 0
) -> Corrected:
    """Correct the events of `source` into `out` by the records in `flows`.

    `rejects` takes the lines that are no events. `-` is standard input or output. Raises
    UsageError for arguments that do not go together, RunError where a file cannot be used.
    """
    if flows == STANDARD and source == STANDARD:
        raise UsageError("-: standard input is read for --in; name a file for --flows")
    output = Output(out)
    aside = None if rejects is None else Output(rejects)
    outputs = [one for one in (output, aside) if one is not None]
    refuse_clashes([flows, source], outputs)
    if source != STANDARD and not Path(source).exists():
        raise RunError(f"{source}: cannot be read: No such file or directory")
    result = Corrected()
    with _store(flows, result) as store:
        try:
            for one in outputs:
                one.prepare()
            report = enrich_file(
                source,
                output.work,
                store,
                community_id_seed=community_id_seed,
                wait_events=WAIT_EVENTS if flows.endswith(STORE_SUFFIXES) else 0,
                rejects=None if aside is None else aside.work,
            )
        except KeyboardInterrupt:
            result.interrupted = True
            if part := output.abandon():
                result.warnings.append(f"interrupted: {part} holds the events up to here")
            if aside is not None and (part := aside.abandon()):
                result.warnings.append(f"interrupted: {part} holds the rejected lines up to here")
        except (EnrichError, RunError) as error:
            text = str(error)
            for one in outputs:
                one.abandon()
                text = text.replace(one.work, one.name)
            raise RunError(text) from None
        else:
            for one in outputs:
                one.commit()
            result.events.take(report)
            result.warnings += report.warnings
    return result


@contextmanager
def _store(flows: str, result: Corrected) -> Iterator[MemoryStore | SqliteStore]:
    """Open the flow records, whichever way they are kept."""
    try:
        if flows.endswith(STORE_SUFFIXES):
            # SQLite would make an empty store of a misspelt name.
            if not Path(flows).is_file():
                raise RunError(f"{flows}: cannot be read: No such file or directory")
            with SqliteStore(flows) as kept:
                result.records = len(kept)
                yield kept
        else:
            with MemoryStore() as store:
                garbage = Garbage()
                try:
                    with open(0 if flows == STANDARD else flows, "rb") as stream:  # noqa: PTH123
                        result.records = store.add_many(read_records(stream, garbage))
                except OSError as error:
                    raise RunError(f"{flows}: cannot be read: {error.strerror}") from None
                result.warnings += garbage.sentences(flows)
                yield store
    except StoreError as error:
        raise RunError(str(error)) from None
