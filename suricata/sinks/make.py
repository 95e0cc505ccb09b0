"""From a sink's settings to its client; a kind's libraries are imported when it is wanted."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable
from types import ModuleType

from ..event_settings import SinkSettings
from .client import Client
from .file import FileClient
from .rotate import Rotation
from .stdout import StdoutClient

_log = logging.getLogger("peeltap.events")


def make_client(
    settings: SinkSettings,
    *,
    say: Callable[[int, str], None] = _log.log,
    canary: bool = False,
) -> Client:
    """The client of `settings`; connects with its first batch.

    `say` takes a level of `logging` and a sentence. `canary`: a running service may use the same
    target at the same time, which is left as it is. Raises ValueError, with the remedy, where the
    kind's library is not installed or a certificate cannot be used.
    """
    if settings.file is not None:
        rotate, rotation = settings.file.rotate, None
        if rotate is not None and not canary:
            rotation = Rotation(
                max_bytes=None if rotate.mb is None else rotate.mb << 20,
                seconds=rotate.seconds,
                keep=rotate.keep,
                compress=rotate.compress,
                say=say,
            )
        return FileClient(settings.file.path, rotation, mends=not canary)
    if settings.stdout:
        return StdoutClient()
    kind = settings.kind
    made: Client = getattr(_module(kind), f"{kind.capitalize()}Client")(getattr(settings, kind))
    return made


def preload(settings: SinkSettings) -> None:
    """Import what `make_client` will; what cannot be is told by that."""
    if settings.file is None and not settings.stdout:
        _module(settings.kind)
        if settings.kafka is not None:
            with contextlib.suppress(ImportError):
                importlib.import_module("confluent_kafka")


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f".{kind}", __package__)
