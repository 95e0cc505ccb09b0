"""Frames of no use, out of an interface.

    garbage.py INTERFACE COUNT LENGTH    so many, so long; LENGTH 0: of any length
    garbage.py INTERFACE show            has a bridge learn where they go

The first half of the kinds is noise, the other half begins as Ethernet, IP and TCP of the leg do,
and goes wrong somewhere. The same frames for the same arguments.
"""

from __future__ import annotations

import random
import socket
import sys

KINDS = 4096
TO, FROM = b"\x02\x00\x00\x00\x00\xfe", b"\x02\x00\x00\x00\x00\xfd"


def kinds(length: int) -> list[bytes]:
    chance = random.Random(length)
    made = []
    for number in range(KINDS):
        size = length or chance.randrange(14, 1514)
        frame = bytearray(chance.randbytes(size))
        frame[:12] = TO + FROM
        if number >= KINDS // 2 and size >= 54:
            frame[12:16] = b"\x08\x00\x45\x00"
            frame[16:18] = (size - 14).to_bytes(2, "big")
            frame[20:24] = b"\x40\x00\x40\x06"
            frame[26:34] = bytes([172, 16, 23, 1, 172, 16, 23, 2])
            frame[36:38] = (9080).to_bytes(2, "big")
            frame[chance.randrange(12, size)] = chance.randrange(256)
        made.append(bytes(frame))
    return made


def send(interface: str, count: int, length: int) -> None:
    frames = kinds(length)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for number in range(count):
            wire.send(frames[number % KINDS])


def show(interface: str) -> None:
    """Has a bridge learn where `TO` is."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        wire.send(FROM + TO + bytes(48))


if __name__ == "__main__":
    if sys.argv[2] == "show":
        show(sys.argv[1])
    else:
        send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
