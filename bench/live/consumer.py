"""What stands at the tap: ``python -m bench.live.consumer INTERFACE``.

A TPACKET_V3 ring as Suricata has one. The kernel copies each packet into it; nothing is done with
them, blocks are given back. Says ``ready``; for each line on standard input answers with the
packets that came in and that the ring had no room for, since the line before.
"""

from __future__ import annotations

import json
import mmap
import select
import socket
import struct
import sys

SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 263, 5, 6, 10
PACKET_IGNORE_OUTGOING, PACKET_VNET_HDR = 23, 15
TPACKET_V3 = 2
BLOCK, BLOCKS = 1 << 20, 64
STATUS, PACKETS = 8, 12


def main(interface: str) -> None:
    plug = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    plug.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
    plug.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    plug.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    request = struct.pack("=7I", BLOCK, BLOCKS, 1 << 16, BLOCK * BLOCKS >> 16, 20, 0, 0)
    plug.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
    ring = mmap.mmap(plug.fileno(), BLOCK * BLOCKS)
    plug.bind((interface, 3))  # ETH_P_ALL
    waits = select.poll()
    waits.register(plug, select.POLLIN)
    waits.register(sys.stdin, select.POLLIN)
    print("ready", flush=True)
    at = packets = 0
    while True:
        ready = dict(waits.poll())
        while True:
            (status,) = struct.unpack_from("=I", ring, at * BLOCK + STATUS)
            if not status & 1:
                break
            packets += struct.unpack_from("=I", ring, at * BLOCK + PACKETS)[0]
            struct.pack_into("=I", ring, at * BLOCK + STATUS, 0)
            at = (at + 1) % BLOCKS
        if sys.stdin.fileno() in ready:
            if not sys.stdin.readline():
                return
            _, drops, _ = struct.unpack("=3I", plug.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
            print(json.dumps({"packets": packets, "drops": drops}), flush=True)
            packets = 0


if __name__ == "__main__":
    main(sys.argv[1])
