"""Makes the seed corpora of frames and of the engine: `python core/fuzz/seed_engine.py`.

Packets of real captures as they are, and scripts of the cases that the engine is there for; what
the bytes mean stands in `src/engine/script.rs`. Inputs that once failed lie beside them and stay.
"""

import itertools
import struct
from pathlib import Path

import dpkt

HERE = Path(__file__).parent
CAPTURES = HERE.parents[1] / "fixtures" / "captures"

# What `src/wire.rs` calls them.
LINKS = {1: 0, 101: 1, 12: 1, 113: 2}
SNAP = 200
FRAMES = 24

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
RESTORE, MIDSTREAM_DROP, OTHER_DROP, SEGMENT, DEPTH_2, REQUIRED = 1, 2, 4, 8, 16, 32
WIDE, FEW_CONNECTIONS, LITTLE_HELD, LITTLE = range(4)
# The streams of `src/engine/streams.rs`.
V2, V1, MAGIC, SSL, SSL_BEHIND, TLVS, V1_V6, MAGIC_V6, LOCAL, V2_V2, THREE, MIXED, BROKEN, PLAIN = (
    range(14)
)
NEXT, NEAR, ANYWHERE, FAR = range(4)
ADVANCE = 7


def write(target: str, name: str, data: bytes) -> None:
    """Write one input of ``target``'s corpus."""
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def settings(
    stream: int, *, flags: int = 0, limits: int = WIDE, link: int = 0, vlans: int = 0, isn: int = 1
) -> bytes:
    """A script's first six bytes; connections take one stream after the other."""
    return bytes((flags, limits, link | vlans << 4, isn, stream, 1))


def handshake(tuple_: int = 0) -> bytes:
    """SYN, SYN/ACK, ACK."""
    return bytes((4, tuple_))


def segment(
    length: int,
    flags: int = PSH | ACK,
    *,
    server: bool = False,
    where: int = NEXT,
    at: int = 0,
    ack: int = 0,
    extras: int | None = None,
    more: bytes = b"",
    tuple_: int = 0,
    head: bytes = b"\x08",
) -> bytes:
    """A segment; `more` is what its extras take."""
    first = tuple_ | server << 3 | (0x80 if extras is not None else 0)
    place = {NEXT: b"", NEAR: struct.pack("b", at if where == NEAR else 0)}.get(where)
    if place is None:
        place = struct.pack("<h" if where == ANYWHERE else "<H", at)
    odd = b"" if extras is None else struct.pack("<H", extras) + more
    return head + bytes((first, flags | where << 6)) + place + bytes((ack, length)) + odd


def seconds(count: float) -> bytes:
    """Time passes."""
    return bytes((ADVANCE, int(count * 10)))


def frame(data: bytes, wire: int) -> bytes:
    """A frame as it is."""
    return bytes((ADVANCE | 1 << 3, 0x80)) + struct.pack("<HH", len(data), min(wire, 65535)) + data


def scripts() -> dict[str, bytes]:
    """The cases by name."""
    answer = segment(0, ACK, server=True)
    reply = segment(100, server=True)
    close = segment(0, FIN | ACK) + segment(0, FIN | ACK, server=True) + segment(0, ACK)
    talk = handshake() + segment(90) + answer + reply + segment(50) + close
    names = {
        "v2": V2, "v1": V1, "magic": MAGIC, "sslproxy": SSL, "sslproxy-behind": SSL_BEHIND,
        "tlvs": TLVS, "v1-v6": V1_V6, "magic-v6": MAGIC_V6, "local": LOCAL, "broken": BROKEN,
        "plain": PLAIN, "forged": V2_V2,
    }  # fmt: skip
    made = {f"talk-{name}": settings(stream) + talk for name, stream in names.items()}
    for link, mode in itertools.product(range(5), (0, RESTORE)):
        made[f"link-{link}-{mode}"] = settings(V2, flags=mode, link=link) + talk
    made |= {f"isn-{isn}": settings(V2, isn=isn) + talk for isn in range(4)}
    v2 = settings(V2)
    split = b"".join(segment(4) for _ in range(8))
    little = settings(V2, limits=LITTLE)
    cut = settings(V2, flags=SEGMENT)
    piece = bytes((5, 0x23))
    sack = segment(0, ACK, server=True, ack=1, extras=3, more=bytes((0, 10, 20, 40, 28, 60)))
    made |= {
        "stacked": settings(V2_V2, flags=DEPTH_2) + talk,
        "stacked-mixed": settings(MIXED, flags=DEPTH_2 | RESTORE) + talk,
        "three-and-depth-2": settings(THREE, flags=DEPTH_2) + handshake() + segment(200) + reply,
        "qinq": settings(V2, vlans=2) + talk,
        "split": v2 + handshake() + split + answer + segment(60) + close,
        "split-limits": settings(V2, limits=LITTLE_HELD) + handshake() + split + reply + close,
        "split-restore": settings(V1_V6, flags=RESTORE) + handshake() + split * 4 + reply + close,
        "retransmitted": v2 + handshake() + segment(60) + segment(60, where=NEAR, at=-28) + reply,
        "overlap": v2 + handshake() + segment(28) + segment(40, where=NEAR, at=-5) + answer,
        "reordered": v2 + handshake() + segment(30, where=NEAR) + segment(28, where=ANYWHERE),
        "keepalive": v2 + handshake() + segment(28) + segment(1, ACK, where=NEAR, at=-1) + answer,
        "urgent": v2 + handshake() + segment(60, URG | ACK, extras=1 << 3, more=b"\x28"),
        "sack": v2 + handshake() + segment(90) + sack + answer,
        "signed": v2 + handshake() + segment(90, extras=4) + segment(0, ACK, server=True, extras=5),
        "fast-open": v2 + segment(60, SYN) + segment(0, SYN | ACK, server=True, ack=60) + reply,
        "fragments": v2 + handshake() + segment(90, head=piece) + reply,
        "fragments-reversed": v2 + handshake() + segment(90, head=bytes((5, 0x15))) + seconds(4),
        "fragments-limit": little + handshake() + segment(90, head=bytes((5, 4))),
        "icmp": v2 + handshake() + segment(60) + bytes((6, 0, 60, 64 + 28)) + bytes((6, 8, 48, 90)),
        "port-reuse": v2 + talk + segment(0, SYN, where=ANYWHERE, at=3000) + talk,
        "evicted": settings(V2, limits=FEW_CONNECTIONS) + b"".join(map(handshake, range(8))) + talk,
        "times-out": v2 + handshake() + segment(10) + seconds(3.5) + segment(60) + seconds(12),
        "superframe": cut + handshake() + segment(245) + segment(250, FIN | ACK),
        "superframe-known": settings(V1, flags=SEGMENT | RESTORE)
        + handshake() + segment(243, extras=1 << 7 | 1 << 8, more=b"\x64"),
        "midstream": settings(V2, flags=MIDSTREAM_DROP) + reply + segment(90) + reply,
        "untrusted": v2 + handshake(2) + segment(90, tuple_=2) + reply,
        "stranger": v2 + handshake(3) + segment(90, tuple_=3) + bytes((6, 3, 60, 64)),
        "cut-by-snap": v2 + handshake() + segment(90, extras=1 << 11, more=b"\x46") + reply,
        "length-that-lies": v2
        + handshake() + segment(9, extras=1 << 12, more=b"\x10\x80\0\0") + segment(60),
        "clock-leaps": v2 + handshake() + b"\x07\x79" + segment(60) + b"\x07\x7d" + reply,
        "changed": v2 + handshake() + segment(90, extras=1 << 12, more=b"\x2e\x50\x10\x04") + reply,
    }  # fmt: skip
    return made


def from_captures() -> None:
    """The first packets of each small capture, as a script and as single frames."""
    seen = set()
    for path in sorted(CAPTURES.glob("*.pcap")):
        with path.open("rb") as file:
            reader = dpkt.pcap.Reader(file)
            link = LINKS.get(reader.datalink())
            if link is None or path.stem.endswith("-direct"):
                continue
            packets = [data for _, data in itertools.islice(reader, FRAMES)]
        restore = RESTORE if len(path.stem) % 2 else 0
        script = settings(V2, flags=restore, link=link)
        script += b"".join(frame(data[:SNAP], len(data)) for data in packets)
        if path.stat().st_size < 70_000:
            write("engine", f"capture-{path.stem}", script[:3000])
        for data in packets:
            # One of each length of headers and each set of flags.
            kind = (link, data[:16][12:], len(data[:SNAP]) // 8)
            if kind not in seen and len(seen) < 60:
                seen.add(kind)
                write("wire", f"capture-{len(seen):02}", bytes((link,)) + data[:SNAP])


if __name__ == "__main__":
    from_captures()
    for name, data in scripts().items():
        write("engine", name, data)
