"""What the harness needs to know of a capture's content, without a library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

FILE_HEADER, RECORD_HEADER = 24, 16
BLOCK = 1 << 20
EMPTY = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)


def records(path: Path) -> Iterator[bytes]:
    """Each record of a little-endian legacy pcap, its header included, in order.

    Raises ``ValueError`` if the file is something else or ends inside a record. Reads block by
    block: the harness must stay small (see ``bench.measure.run``).
    """
    with path.open("rb") as file:
        if file.read(FILE_HEADER)[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
            raise ValueError(f"{path}: not a little-endian pcap")
        block, at = b"", 0
        while True:
            end = at + RECORD_HEADER
            if end <= len(block):
                end += int.from_bytes(block[at + 8 : at + 12], "little")
            if end > len(block):
                more = file.read(max(BLOCK, end - len(block)))
                if not more:
                    if at != len(block):
                        raise ValueError(f"{path}: ends inside a record")
                    return
                block, at = block[at:] + more, 0
                continue
            yield block[at:end]
            at = end


def count(path: Path) -> int:
    """How many packets are in the capture."""
    return sum(1 for _ in records(path))
