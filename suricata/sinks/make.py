"""From a sink's settings to its client. A kind's library is imported when it is configured."""

from __future__ import annotations

import importlib

from .client import Client
from .settings import KINDS, Kinds


def make_client(settings: Kinds) -> Client:
    """Give the client of the one kind that `settings` name; nothing is connected to yet.

    Raises ValueError, with the remedy, where the kind's library is not installed or a certificate
    or secret cannot be read.
    """
    [kind] = [kind for kind in KINDS if getattr(settings, kind) is not None]
    module = importlib.import_module(f".{kind}", __package__)
    made: Client = getattr(module, f"{kind.capitalize()}Client")(getattr(settings, kind))
    return made
