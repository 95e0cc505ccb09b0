"""The sinks of a configuration, made: clients, shapes, the spool and its bounds.

What a shape is called in the configuration leads to a function of `suricata.shapes`, imported only
where it is wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from suricata.delivery.outbound import Outbound, way
from suricata.delivery.positions import FILE, DeliveryState
from suricata.delivery.treatment import Shape
from suricata.event_settings import SinkSettings
from suricata.sinks.make import make_client
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
) -> Outbound:
    """Everything behind the relay, not started. Raises OSError."""
    ways = [way(sink, make_client(sink, say=say), shape_of(sink)) for sink in sinks]
    return Outbound(ways, directory, state, rereads=rereads, say=say)


def shape_of(sink: SinkSettings) -> Shape | None:
    """The function that gives events the form that `sink` wants; None: they have it."""
    if sink.shape == "eve":
        return None
    module = importlib.import_module(f"suricata.shapes.{sink.shape}")
    return cast("Shape", module.shape)
