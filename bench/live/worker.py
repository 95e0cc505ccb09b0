"""`peeltap_core.Live` from a bridge to a tap: ``python -m bench.live.worker BRIDGE TAP [RING_MB]``.

Says ``ready``; for each line on standard input answers with its counters; ends with its input.
"""

from __future__ import annotations

import json
import sys
import threading

from peeltap_core import Live

from bench.legs import engine_config
from bench.live.tap import open_tap


def main(bridge: str, tap: str, ring: int) -> None:
    config = json.loads(engine_config("strip")) | {"announce": True}
    live = Live(
        json.dumps(config).encode(),
        bridge,
        output_fd=open_tap(tap),
        output="tap",
        ring_bytes=ring << 20,
    )
    stopping = threading.Event()

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps(live.stats()), flush=True)
        stopping.set()
        live.wake()

    threading.Thread(target=answer, daemon=True).start()
    print("ready", flush=True)
    while not stopping.is_set():
        live.step(500)
        live.take_records()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 64)
