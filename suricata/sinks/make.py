"""From a sink's settings to its client; a kind's libraries are imported when it is wanted."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable

from ..event_settings import SinkSettings
from .client import Client

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
        from .file import FileClient
        from .rotate import Rotation

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
        from .stdout import StdoutClient

        return StdoutClient()
    kind = settings.kind
    module = importlib.import_module(f".{kind}", __package__)
    made: Client = getattr(module, f"{kind.capitalize()}Client")(getattr(settings, kind))
    return made
