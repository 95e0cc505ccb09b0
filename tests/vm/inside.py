"""The virtual machine's first process: runs the scenarios and tells what each of them saw.

A line for each on the second serial port: {"scenario": ..., "told": {...}} or "failed": why.
When it ends, in whatever way, the kernel does, and the machine with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# linux/reboot.h
_POWER_OFF = 0x4321FEDC

TOLD = Path("/dev/ttyS1")


def main() -> None:
    """Run all of them."""
    os.environ |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    # /tmp is the outer machine's, read-only.
    os.environ["TMPDIR"] = "/run"
    from tests.vm import vlan, vrf

    for scenario in (*vrf.SCENARIOS, *vlan.SCENARIOS):
        _tell(scenario)


def _tell(scenario: Callable[[], dict[str, Any]]) -> None:
    begun = time.monotonic()
    line: dict[str, Any] = {"scenario": scenario.__name__}
    try:
        line["told"] = scenario()
    except Exception:
        line["failed"] = traceback.format_exc()
    line["seconds"] = round(time.monotonic() - begun, 1)
    with TOLD.open("w") as told:
        told.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    try:
        main()
    finally:
        os.sync()
        ctypes.CDLL(None).reboot(_POWER_OFF)
