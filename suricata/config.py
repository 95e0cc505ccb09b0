"""Generates the `suricata.yaml` that peeltap runs Suricata with.

It is a small overlay: the distribution's file is included first, and what follows wins. Suricata
reads a key that comes again as a new value for the *whole* node (its log says "redefined"), so a
list such as `outputs` is given in full, and single leaves of a tree such as `vars` by their dotted
name, which leaves their siblings alone. Both checked with Suricata 7.0.10 by `--dump-config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from .settings import SuricataSettings

EVE_FILE: Final = "eve.json"
ENGINE_LOG: Final = "engine.json"

# Suricata refuses a file without this first line.
_HEAD: Final = "%YAML 1.1\n---\n"

_NOTE: Final = "# Made by peeltap for one run; edit the suricata section of peeltap's own file.\n"


def overlay(settings: SuricataSettings, log_dir: Path) -> dict[str, Any]:
    """The overlay's nodes, in the order in which they are written."""
    nodes: dict[str, Any] = {
        "include": str(settings.base.absolute()),
        "default-log-dir": str(log_dir.absolute()),
        "outputs": [{"eve-log": _eve_log(settings)}],
        "logging": {
            "default-log-level": "info",
            "outputs": [
                {"console": {"enabled": False}},
                # JSON, so that an error's text is found without guessing at columns.
                {
                    "file": {
                        "enabled": True,
                        "type": "json",
                        "level": "info",
                        "filename": ENGINE_LOG,
                    }
                },
            ],
        },
        # The socket lies in a directory of root's, and nobody asks an offline run anything.
        "unix-command": {"enabled": False},
        # Rule files are named by absolute path; without any, none of the distribution's are loaded.
        "rule-files": [str(path.absolute()) for path in settings.rules],
    }
    if "stats" not in settings.eve_types:
        # Counted for nobody, it would only be warned of.
        nodes["stats.enabled"] = False
    if settings.home_net is not None:
        nodes["vars.address-groups.HOME_NET"] = "[" + ",".join(settings.home_net) + "]"
    nodes.update(settings.extra)
    return nodes


def _eve_log(settings: SuricataSettings) -> dict[str, Any]:
    return {
        "enabled": True,
        "filetype": "regular",
        "filename": EVE_FILE,
        "community-id": True,
        "community-id-seed": settings.community_id_seed,
        "types": [_eve_type(name, settings) for name in settings.eve_types],
    }


def _eve_type(name: str, settings: SuricataSettings) -> str | dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        "alert": {
            "payload": settings.alert_payload,
            "packet": settings.alert_packet,
            "tagged-packets": True,
        },
        "anomaly": {"enabled": True, "types": {"decode": False, "stream": False, "applayer": True}},
        "http": {"extended": True},
        "tls": {"extended": True},
        "dhcp": {"enabled": True, "extended": False},
        "frame": {"enabled": True},
        "pgsql": {"enabled": True},
        "stats": {"totals": True, "threads": False, "deltas": False},
    }
    return {name: options[name]} if name in options else name


def emit(settings: SuricataSettings, log_dir: Path) -> str:
    """The overlay as the text of a `suricata.yaml`."""
    return text(overlay(settings, log_dir))


def text(nodes: dict[str, Any]) -> str:
    """Nodes as the text of a `suricata.yaml`."""
    # Imported here: a run without Suricata starts without it.
    import yaml

    body: str = yaml.safe_dump(nodes, sort_keys=False, allow_unicode=True, width=1000)
    return _HEAD + _NOTE + body


def write(settings: SuricataSettings, log_dir: Path) -> Path:
    """Write the overlay into `log_dir` (made if absent); its path. Raises OSError."""
    log_dir.mkdir(parents=True, exist_ok=True)
    path = log_dir / "suricata.yaml"
    path.write_text(emit(settings, log_dir), encoding="utf-8")
    return path
