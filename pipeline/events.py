"""The part of a replay that needs Suricata: run it on the clean capture, correct what it says."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import RunError
from pipeline.outputs import Output
from pipeline.progress import Progress
from pipeline.summary import Events, Summary
from reassembly.records import Garbage, read_records
from reassembly.store import MemoryStore
from suricata import process
from suricata.config import EVE_FILE
from suricata.settings import SuricataSettings
from suricata.streams import EnrichError, Report, enrich_file


class SuricataStage:
    """One run of Suricata and the correction of its events; `store` takes the flow records."""

    def __init__(self, settings: SuricataSettings, rules: Sequence[Path], summary: Summary) -> None:
        """Raises RunError if there is no Suricata to run or a rule file is absent."""
        self._settings = settings.model_copy(update={"rules": list(rules)}) if rules else settings
        self._summary = summary
        for path in self._settings.rules:
            if not path.is_file():
                raise RunError(f"{path}: cannot be read: no such rule file")
        try:
            installed = process.find(self._settings.binary)
        except process.SuricataError as error:
            raise RunError(str(error)) from None
        self._events = summary.events = Events(version=installed.version)
        self.store = MemoryStore()
        self._garbage = Garbage()

    def take_records(self, lines: bytes) -> None:
        """Keep flow records, as the core gives them."""
        self.store.add_many(read_records(io.BytesIO(lines), self._garbage))

    def run(self, capture: Path, target: Output | None, log_dir: Path, progress: Progress) -> None:
        """Run Suricata on `capture` and write corrected events to `target`, or nowhere.

        Raises RunError in Suricata's own words; events up to its end are in `target` even then.
        """
        progress.stage("Suricata")
        try:
            ran = process.run(
                capture,
                self._settings,
                log_dir,
                progress=lambda done, total: progress.update(0, done, total),
            )
        except process.SuricataError as error:
            eve = log_dir / EVE_FILE
            if eve.exists():
                self._correct(eve, target, progress)
            # The directory that it names is ours, and goes.
            text = str(error).replace(f"; its events so far are in {eve}", "")
            raise RunError(text) from None
        self._summary.warnings += [f"Suricata: {text}" for text in ran.warnings]
        self._correct(ran.eve, target, progress)

    def _correct(self, eve: Path, target: Output | None, progress: Progress) -> None:
        progress.stage("correcting events")
        report = correct(eve, target, self.store, self._settings.community_id_seed, progress)
        self._events.take(report)
        self._summary.warnings += report.warnings
        self._summary.warnings += self._garbage.sentences("flow records")


def correct(
    source: Path, target: Output | None, store: MemoryStore, seed: int, progress: Progress
) -> Report:
    """Correct one file of events; raises RunError that names the person's file, not our part."""
    name = target.work if target is not None else os.devnull
    try:
        return enrich_file(
            source,
            name,
            store,
            community_id_seed=seed,
            progress=lambda done, total: progress.update(0, done, total),
        )
    except EnrichError as error:
        text = str(error)
        raise RunError(text if target is None else text.replace(name, target.name)) from None
