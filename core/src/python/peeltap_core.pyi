"""The packet side of Peeltap, written in Rust: it takes proxy headers out of TCP streams."""

from typing import Any, Literal

VERSION: str

_Link = Literal["ethernet", "raw", "sll", "sll2", "null"]

class Engine:
    """One frame at a time: packet in, packets out, flow records. Opens nothing, reads no clock.

    `config` is the engine's JSON configuration; ValueError names the key that is wrong.
    """

    def __init__(self, config: bytes) -> None: ...
    def push(
        self,
        ts_ns: int,
        frame: bytes,
        *,
        link: _Link = "ethernet",
        orig_len: int | None = None,
        partial_checksum: bool = False,
        gso_size: int = 0,
    ) -> list[tuple[int, bytes]]:
        """Take a frame captured at `ts_ns` (nanoseconds since the epoch).

        Returns the packets that leave now as (slot, frame), in order. A frame's slot is the number
        of frames pushed before it. `orig_len` is its length on the wire in bytes.
        `partial_checksum` says that its checksum field covers the pseudo-header only and shall stay
        so; `gso_size` is the payload bytes a segment of an offloaded frame, 0 if not known.
        """

    def advance(self, ts_ns: int) -> list[tuple[int, bytes]]:
        """Tell the time: what waited too long leaves, silent connections expire."""

    def finish(self) -> list[tuple[int, bytes]]:
        """End the input: everything that waits leaves, every connection's record is made."""

    def take_records(self) -> bytes:
        """The flow records made since the last call, as JSON lines."""

    def stats(self) -> dict[str, Any]:
        """The counters; `in == emitted + merged + dropped + held` in `packets` at all times."""
