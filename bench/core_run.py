"""The core alone over one capture: ``python -m bench.core_run MODE IN OUT``; prints its stats.

For what start-up would hide or the command line does not print: instructions, and the tracker's
memory. Flow records are taken and thrown away, as ``peeltap replay`` without ``--flows`` does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import peeltap_core

from bench.legs import engine_config

STEP = 16_384


def status(key: str) -> int:
    """A size from ``/proc/self/status``, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def main(mode: str, source: str, sink: str) -> None:
    replay = peeltap_core.Replay(engine_config(mode), [source], sink)
    most: dict[str, float] = {"tracked": 0}
    while replay.step(STEP):
        replay.take_records()
        stats = replay.stats()
        if stats["tracked"] > most["tracked"]:
            most = {key: stats[key] for key in ("tracked", "bytes_per_connection")}
            most["resident"] = status("VmRSS")
    replay.take_records()
    print(json.dumps({"most": most, "stats": replay.stats()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
