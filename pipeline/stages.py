"""What stands between the correction of events and their sinks, made of a configuration.

Apart from `parts`: a worker, who captures nothing, need not wait for what leads to packets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.config_check import Whole
from reassembly.store import StoreError
from suricata.enrichment import EnrichmentError
from suricata.enrichment.settings import Named
from suricata.enrichment.stage import open_stage
from suricata.relay import Stage
from suricata.session_store import SessionStoreError
from suricata.sources import SourceError

FAILURES: Final = (StoreError, SourceError, EnrichmentError, SessionStoreError, OSError)
"""What keeps events from being carried at all, each with one sentence."""


def open_enrichment(whole: Whole, say: Callable[[int, str], None]) -> Stage | None:
    """The stage of `whole`, if there is one. Raises one of FAILURES."""
    return open_stage(
        whole.enrichment, whole.sessions, whole.state.directory, segments=placed(whole), say=say
    )


def placed(whole: Whole) -> list[Named]:
    """The segments of the topology file, if there is one."""
    if whole.enrichment.topology is None:
        return []
    from pipeline import places, topology_file

    return places.segments(topology_file.load(whole.enrichment.topology).settings)
