"""How long the proxy header at the front of a stream is."""

from __future__ import annotations

from bench.legs import MAGIC, PROXY_V2_SIGNATURE

V1_LONGEST = 107  # with CRLF (PROXY protocol, section 2.1)
MAGIC_LENGTHS = {4: 21, 6: 45}


def header_length(stream: bytes) -> int | None:
    """Return the header's length, 0 if there is none, ``None`` if more bytes are needed."""
    if stream.startswith(PROXY_V2_SIGNATURE):
        return 16 + int.from_bytes(stream[14:16], "big") if len(stream) >= 16 else None
    if stream.startswith(b"PROXY "):
        end = stream.find(b"\r\n", 0, V1_LONGEST)
        if end >= 0:
            return end + 2
        return None if len(stream) < V1_LONGEST else 0
    if stream.startswith(MAGIC):
        return MAGIC_LENGTHS.get(stream[8], 0) if len(stream) > 8 else None
    starts = (PROXY_V2_SIGNATURE, b"PROXY ", MAGIC)
    return None if any(start.startswith(stream) for start in starts) else 0
