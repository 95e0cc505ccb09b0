"""The last good rules, on disk: what the agent starts from when gateway1 cannot be reached."""

from __future__ import annotations

import json
import os
from pathlib import Path

from diversion.agent.config import MAX_BYTES
from diversion.proxy.listeners import Listener, read_listeners


def save(path: str, serial: str, listeners: tuple[Listener, ...]) -> None:
    """Keep a good set; the file is never half written. Raises OSError."""
    target = Path(path)
    draft = target.with_name(target.name + ".new")
    data = {"serial": serial, "listeners": [one.as_dict() for one in listeners]}
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # For its owner alone: which addresses are decoys is nobody else's business.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)


def restore(path: str) -> tuple[str, tuple[Listener, ...]]:
    """Read what `save` kept: serial and set; OSError or ValueError if there is nothing good."""
    with Path(path).open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"{path}: longer than {MAX_BYTES} bytes; this is no set of rules")
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply; this is no set of rules") from None
    if not isinstance(data, dict) or not isinstance(data.get("serial"), str):
        raise ValueError(f"{path}: holds no rules")
    return data["serial"], read_listeners(data.get("listeners"))
