"""Makes the seed corpus of ring blocks anew: `PYTHONPATH=. python core/fuzz/seed_rings.py`.

One conversation in the layout of TPACKET_V3 (linux/if_packet.h), as the kernel writes it: plain,
split, with VLAN tags in the metadata, with partial checksums, and cut by a filter.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.support.headers import proxy_v1
from tests.support.packets import ACK, PSH, SYN, Leg, Packet

HERE = Path(__file__).parent
HEADER, ROOM, VNET = 48, 96, 10
CSUM_NOT_READY, VLAN_VALID, TPID_VALID = 1 << 3, 1 << 4, 1 << 6


@dataclass(frozen=True)
class About:
    """What the kernel says of a frame beside its bytes."""

    status: int = 0
    vnet: bytes = bytes(VNET)
    tag: tuple[int, int] = (0, 0)
    most: int = 1 << 18


def block(frames: list[bytes], about: About) -> bytes:
    """A block that holds these frames."""
    packets = b""
    for index, frame in enumerate(frames):
        captured = frame[: about.most]
        body = bytes(ROOM - HEADER - VNET) + about.vnet + captured
        body += bytes(-(HEADER + len(body)) % 16)
        following = HEADER + len(body) if index + 1 < len(frames) else 0
        packets += struct.pack(
            "=IIIIIIHHIIHH8x",
            following,
            1_767_225_600,
            index,
            len(captured),
            len(frame),
            1 | about.status,
            ROOM,
            ROOM + 14,
            0,
            *about.tag,
            0,
        )
        packets += body
    head = struct.pack("=IIIIIIQQQ", 3, 0, 1, len(frames), 48, 48 + len(packets), 1, 0, 0)
    return head + packets


def main() -> None:
    """Write every input."""
    leg = Leg()
    header, data = proxy_v1(), b"GET / HTTP/1.0\r\n\r\n"
    packets = [
        Packet(True, 1000, 0, SYN),
        Packet(False, 5000, 1001, SYN | ACK),
        Packet(True, 1001, 5001, ACK),
        Packet(True, 1001, 5001, ACK | PSH, header + data),
        Packet(False, 5001, 1001 + len(header + data), ACK),
    ]
    split = [
        *packets[:3],
        Packet(True, 1001, 5001, ACK, header[:9]),
        Packet(True, 1010, 5001, ACK | PSH, header[9:] + data),
    ]
    partial = About(CSUM_NOT_READY, struct.pack("=BBHHHH", 1, 1, 54, 20, 34, 16))
    ways = {
        "plain": (packets, About()),
        "split": (split, About()),
        "tagged": (packets, About(VLAN_VALID | TPID_VALID, tag=(0x2007, 0x88A8))),
        "partial": (split, partial),
        "cut": (packets, About(most=60)),
    }
    folder = HERE / "corpus/rings"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (which, about) in ways.items():
        frames = [leg.frame(packet, partial=about is partial) for packet in which]
        (folder / name).write_bytes(block(frames, about))


if __name__ == "__main__":
    main()
