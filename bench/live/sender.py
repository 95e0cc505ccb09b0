"""Puts a capture on the wire: ``python -m bench.live.sender CAPTURE INTERFACE [--vnet]``.

Says ``ready``; then for each line on its standard input, a JSON object, sends and answers with one.

    {"rate": packets a second, 0 for as fast as it goes; "passes": how often; "step": how far the
     clients' ports move from pass to pass}
    {"sent": packets, "seconds": time}
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np

from bench.legs import GATEWAY2_PORT

BATCH = 64
SOL_PACKET, PACKET_VNET_HDR, PACKET_QDISC_BYPASS = 263, 15, 20
SO_SNDBUFFORCE = 32
CLIENT_PORTS, FIRST_PORT = 28_000, 32_768
L4 = 34

IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
# struct mmsghdr: msghdr of 56 bytes, the length sent, padding.
MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("namelen", "u8"),
        ("iov", "u8"),
        ("iovlen", "u8"),
        ("control", "u8"),
        ("controllen", "u8"),
        ("flags", "u8"),
        ("sent", "u8"),
    ]
)


class Sender:
    def __init__(self, capture: Path, *, vnet: bool = False) -> None:
        size = capture.stat().st_size
        # A private copy: passes change ports in it.
        with capture.open("rb") as file:
            self.memory = mmap.mmap(
                file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
            )
        self.bytes = np.frombuffer(self.memory, np.uint8)
        starts, at = [], 24
        while at < size:
            (length,) = struct.unpack_from("<I", self.memory, at + 8)
            starts.append((at + 16, length))
            at += 16 + length
        table = np.array(starts, np.uint64)
        self.starts, lengths = table[:, 0].astype(np.int64), table[:, 1]
        self.count = len(table)
        self.iovecs = np.zeros(self.count, IOVEC)
        self.iovecs["base"] = self.bytes.ctypes.data + table[:, 0]
        self.iovecs["len"] = lengths
        self.messages = np.zeros(self.count, MMSGHDR)
        self.messages["iov"] = self.iovecs.ctypes.data + 16 * np.arange(self.count, dtype=np.uint64)
        self.messages["iovlen"] = 1
        self.vnet = vnet
        self.skip = 10 if vnet else 0
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg

    def connect(self, interface: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        option = PACKET_VNET_HDR if self.vnet else PACKET_QDISC_BYPASS
        self.socket.setsockopt(SOL_PACKET, option, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 64 << 20)
        self.socket.bind((interface, 0))

    def move_ports(self, step: int) -> None:
        """Makes every connection another one: the client's port, and the checksum for it."""
        l4 = self.starts + self.skip + L4
        source = self.bytes[l4].astype(np.int64) << 8 | self.bytes[l4 + 1]
        place = np.where(source == GATEWAY2_PORT, l4 + 2, l4)
        old = self.bytes[place].astype(np.int64) << 8 | self.bytes[place + 1]
        new = FIRST_PORT + (old - FIRST_PORT + step) % CLIENT_PORTS
        checksum = self.bytes[l4 + 16].astype(np.int64) << 8 | self.bytes[l4 + 17]
        total = (0xFFFF - checksum) + (0xFFFF - old) + new
        for _ in range(2):
            total = (total & 0xFFFF) + (total >> 16)
        for at, value in ((place, new), (l4 + 16, 0xFFFF - total)):
            self.bytes[at], self.bytes[at + 1] = value >> 8, value & 0xFF

    def run(self, rate: float) -> None:
        base, size = self.messages.ctypes.data, MMSGHDR.itemsize
        descriptor = self.socket.fileno()
        begin = time.monotonic()
        at = 0
        while at < self.count:
            if rate:
                ahead = at / rate - (time.monotonic() - begin)
                if ahead > 0.0005:
                    time.sleep(ahead)
            batch = min(BATCH, self.count - at)
            sent = self.sendmmsg(descriptor, ctypes.c_void_p(base + at * size), batch, 0)
            if sent < 0:
                error = ctypes.get_errno()
                if error not in (11, 105):  # EAGAIN, ENOBUFS: the queue is full for a moment
                    raise OSError(error, os.strerror(error))
                time.sleep(0.0002)
                continue
            at += sent

    def serve(self) -> None:
        print("ready", flush=True)
        for line in sys.stdin:
            wanted = json.loads(line)
            begin = time.monotonic()
            passes = wanted.get("passes", 1)
            for number in range(passes):
                if number or wanted.get("moved"):
                    self.move_ports(wanted.get("step", 997))
                self.run(wanted.get("rate", 0))
            said = {"sent": self.count * passes, "seconds": time.monotonic() - begin}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("capture", type=Path)
    parser.add_argument("interface")
    parser.add_argument("--vnet", action="store_true")
    given = parser.parse_args()
    sender = Sender(given.capture, vnet=given.vnet)
    sender.connect(given.interface)
    sender.serve()
