"""The sinks of a configuration, made: clients, shapes, the spool and its bounds.

What a shape is called in the configuration leads to a function of `suricata.shapes`, imported only
where it is wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pipeline.errors import UsageError
from suricata.delivery.outbound import Outbound, way
from suricata.delivery.positions import FILE, DeliveryState
from suricata.delivery.treatment import Shape
from suricata.event_settings import SinkSettings
from suricata.sinks.client import Client
from suricata.sinks.make import make_client, preload
from suricata.sources.file import STATE_FILE

Say = Callable[[int, str], None]


def open_state(directory: Path) -> DeliveryState:
    """Where places are kept, in the state `directory`. Raises OSError."""
    return DeliveryState(directory / FILE, before=directory / STATE_FILE)


def open_outbound(
    sinks: Sequence[SinkSettings],
    directory: Path,
    state: DeliveryState,
    *,
    rereads: bool,
    say: Say,
    spills: bool = True,
) -> Outbound:
    """Everything behind the relay, not started. Raises OSError, UsageError."""
    ways = [way(sink, _client(sink, say), shape_of(sink)) for sink in sinks]
    return Outbound(ways, directory, state, rereads=rereads, say=say, spills=spills)


def _client(sink: SinkSettings, say: Say) -> Client:
    try:
        return make_client(sink, say=say)
    except ValueError as error:
        # Of files and libraries only the making shows whether they can be used.
        raise UsageError(f"sinks: {sink.label}: {error}") from None


def preload_sinks(sinks: Sequence[SinkSettings]) -> None:
    """Import what these sinks need, before privileges are given up."""
    for sink in sinks:
        preload(sink)
        shape_of(sink)


def shape_of(sink: SinkSettings) -> Shape | None:
    """The function that gives events the form that `sink` wants; None: they have it."""
    if sink.shape == "eve":
        return None
    shapes = importlib.import_module("suricata.shapes")
    return partial(shapes.write, shapes.make_shape(sink.shape))
