"""Generates the `suricata.yaml` of the Suricata that lives on the tap: `config`, and what is live.

What is set here and why, as far as it was measured with Suricata 7.0.10 on a tap fed by write(2):

- `tpacket-v3` with blocks of 128 KiB: an offloaded frame of 64 KiB must fit into one block; blocks
  of 32 KiB and version 2 cut it.
- `default-packet-size` is given, not left to the MTU of the tap: from it Suricata reckons how many
  packets a block holds, and so how many blocks a ring of `ring-size` packets has. With a tap's MTU
  of 64 KiB the default ring would take 256 MB. A block is filled to its end whatever the size.
- `checksum-checks: kernel`: with virtio-net headers on the tap the kernel marks packets whose
  checksum is still to be filled in; `auto` takes a run of them for an error and rejects valid ones.
- The distribution allocates for 65,535 fragmented datagrams, 10,000 flows and 128 Lua states before
  the first packet: 28 MB that an idle sensor never uses. How many there may be is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import config
from .settings import SuricataSettings

COMMAND_SOCKET: Final = "command.sock"
EVE_SOCKET: Final = "eve.sock"
PID_FILE: Final = "suricata.pid"
CONFIG_FILE: Final = "suricata.yaml"

BLOCK_BYTES: Final = 131_072
PACKET_BYTES: Final = 1514

# What af-packet puts around a packet in the ring, rounded up: tpacket3_hdr, sockaddr_ll, alignment.
_FRAME_BYTES: Final = 1600


def ring_packets(ring_mb: int, threads: int) -> int:
    """The `ring-size` of each thread's ring, in packets, so that all rings take `ring_mb` MiB."""
    blocks = max(1, (ring_mb << 20) // threads // BLOCK_BYTES)
    # Suricata adds one block to what it reckons.
    return max(1, blocks - 1) * (BLOCK_BYTES // _FRAME_BYTES)


def overlay(
    settings: SuricataSettings, interface: str, directory: Path, rules: list[Path]
) -> dict[str, Any]:
    """The overlay's nodes: those of an offline run, then what is live, then `extra`."""
    types = list(dict.fromkeys([*settings.eve_types, "stats"]))
    offline = settings.model_copy(update={"extra": {}, "rules": rules, "eve_types": types})
    nodes = config.overlay(offline, directory)
    eve = nodes["outputs"][0]["eve-log"]
    if settings.eve_redis is not None:
        eve["filetype"] = "redis"
        eve["redis"] = settings.eve_redis.model_dump()
        if settings.eve_redis.mode == "stream":
            # Suricata 8 would keep the last 100,000 and forget what workers have yet to take.
            eve["redis"]["stream-maxlen"] = 0
    elif settings.eve_output == "file":
        eve["threaded"] = settings.eve_threaded
    else:
        eve["filetype"] = settings.eve_output
        eve["filename"] = str(directory.absolute() / EVE_SOCKET)
    nodes.update(
        {
            "stats": {"enabled": True, "interval": settings.stats_interval_seconds},
            "unix-command": {
                "enabled": True,
                "filename": str(directory.absolute() / COMMAND_SOCKET),
            },
            "af-packet": [_af_packet(settings, interface)],
            "default-packet-size": PACKET_BYTES,
            "vlan.use-for-tracking": True,
            "defrag.prealloc": False,
            "flow.prealloc": 1000,
            "host.prealloc": 100,
            "stream.prealloc-sessions": 256,
            "luajit.states": 8,
        }
    )
    if settings.run_as is not None:
        user, _, group = settings.run_as.partition(":")
        nodes["run-as.user"] = user
        nodes["run-as.group"] = group or user
    nodes.update(settings.extra)
    return nodes


def _af_packet(settings: SuricataSettings, interface: str) -> dict[str, Any]:
    return {
        "interface": interface,
        "threads": settings.threads,
        "cluster-id": 99,
        "cluster-type": "cluster_flow",
        "defrag": True,
        "use-mmap": True,
        "tpacket-v3": True,
        "block-size": BLOCK_BYTES,
        "ring-size": ring_packets(settings.ring_mb, settings.threads),
        "checksum-checks": "kernel",
    }


def emit(
    settings: SuricataSettings, interface: str, directory: Path, rules: list[Path] | None = None
) -> str:
    """The text of the `suricata.yaml`; `rules` stand in for those of the settings if given."""
    chosen = settings.rules if rules is None else rules
    return config.text(overlay(settings, interface, directory, chosen))
