from collections.abc import Sequence
from typing import Any

VERSION: str

class MalformedHeader(ValueError):
    """The bytes began as the codec's format and then broke the rule that the message names."""

def parse_header(codec: bytes, stream: bytes) -> dict[str, Any] | None:
    """Read the front of ``stream`` with one codec.

    ``codec`` is one object of the engine configuration's ``codecs``, as JSON.

    Returns ``None`` if these bytes cannot become a header of this codec; ``{"complete": False}`` if
    all bytes so far fit and more are needed; else ``{"complete": True, "codec": name, "start":
    offset of the header's first byte, "length": bytes, "true": {"src_ip", "src_port", "dest_ip",
    "dest_port"} | None, "tlvs": what else the header says}``.

    Raises ``MalformedHeader``, and ``ValueError`` if ``codec`` is not a codec; the message names the
    key.
    """

def emit_header(
    codec: bytes, peer: str, peer_port: int, destination: str, destination_port: int
) -> bytes:
    """Return the header that announces this peer and destination.

    Raises ``ValueError`` if ``codec`` is not a codec, an address is not one, or the format cannot
    carry them.
    """

def emit_proxy_v2(
    peer: str,
    peer_port: int,
    destination: str,
    destination_port: int,
    *,
    tlvs: Sequence[tuple[int, bytes]] = ...,
    crc32c: bool = False,
    dgram: bool = False,
) -> bytes:
    """Return a PROXY header of version 2 with these TLVs, in order; a CRC32C goes last.

    Raises ``ValueError`` if an address is not one, the two are of two families, or the TLVs do not
    fit. No rule is applied to the TLVs.
    """
