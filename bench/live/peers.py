"""The plain scripts, live: ``python -m bench.live.peers dpkt|scapy BRIDGE TAP``.

As people write them: a raw socket on the bridge, a packet at a time through the library, one write
to the tap. Says ``ready``; for each line on standard input answers with the packets taken.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.legs import GATEWAY2_PORT
from bench.live.tap import open_tap

SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23


class Wire:
    """What a capture's reader and writer are to the scripts: a socket, and the tap."""

    def __init__(self, bridge: str, tap: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((bridge, 3))  # ETH_P_ALL
        self.tap = open_tap(tap, vnet=False)
        self.taken = 0

    def frames(self) -> Iterator[bytes]:
        while True:
            frame = self.socket.recv(1 << 16)
            self.taken += 1
            yield frame

    def writepkt(self, frame: bytes, _ts: float) -> None:
        os.write(self.tap, frame)

    def write(self, packet: Any) -> None:
        os.write(self.tap, bytes(packet))


def main(kind: str, bridge: str, tap: str) -> None:
    wire = Wire(bridge, tap)

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps({"packets": wire.taken}), flush=True)
        os._exit(0)

    threading.Thread(target=answer, daemon=True).start()
    if kind == "dpkt":
        from bench.peers.plain_dpkt import pipeline

        print("ready", flush=True)
        pipeline(((time.time(), frame) for frame in wire.frames()), wire, GATEWAY2_PORT)
    else:
        from scapy.layers.l2 import Ether

        from bench.peers.plain_scapy import pipeline as plain

        print("ready", flush=True)
        plain((Ether(frame) for frame in wire.frames()), wire, GATEWAY2_PORT)


if __name__ == "__main__":
    main(*sys.argv[1:4])
