"""The records of a store in memory, once more in the core: events are corrected there by them.

The core applies the rule of `store.choose` to records that are found by their observed tuple alone.
"""

from __future__ import annotations

from peeltap_core import FlowIndex

from .records import FlowRecord, keys_of


def put(index: FlowIndex, record: FlowRecord) -> None:
    """Keep `record`, if events of its protocol are ever looked up there."""
    if record.proto != "TCP":
        return
    keys = keys_of(record)
    if len(keys) > 1:
        # Which of its tuples an event carries, the core does not tell.
        for ends, _ in keys:
            index.put_odd(record, ends)
        return
    index.put(
        record,
        record.observed,
        record.true,
        record.id,
        record.vlan,
        record.start,
        record.end,
        record.codecs,
        record.verdict,
    )


def remove(index: FlowIndex, record: FlowRecord) -> None:
    """Forget this very record."""
    for ends, _ in keys_of(record):
        index.remove(record, ends)
