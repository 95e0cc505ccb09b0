"""Makes the seed corpus of checkpoints: `PYTHONPATH=. python core/fuzz/seed_checkpoint.py`.

Checkpoints of real captures, stopped halfway and at the end. What the first byte means stands in
`src/checkpoint.rs`.
"""

from pathlib import Path

import dpkt
import orjson
import peeltap_core

HERE = Path(__file__).parent
CAPTURES = HERE.parents[1] / "fixtures" / "captures"

SIGNED, RESTORE, SHARED, LITTLE, SEGMENT = 1, 2, 4, 8, 16
CODECS = ("proxy-v2", "proxy-v1", "sslproxy")
# (capture, how its engine is)
SEEDS = [
    ("http-proxy-v2", SIGNED),
    ("http-proxy-v2-tlvs", SIGNED | RESTORE),
    ("ipv6-proxy-v2", SIGNED),
    ("port-reuse-proxy-v2", SIGNED | RESTORE),
    ("stacked-proxy-v2", SIGNED | SEGMENT),
    ("smtp-proxy-v1", SIGNED | SHARED),
    ("verdicts", SIGNED | LITTLE),
    ("ssh-proxy-v2", 0),
]


def config(name: str, flags: int) -> bytes:
    """The configuration that reads a capture."""
    depth = 2 if "stacked" in name else 1
    legs = [("172.16.23.1", "172.16.23.2"), ("fd00:23::1", "fd00:23::2")]
    return orjson.dumps(
        {
            "mode": "restore" if flags & RESTORE else "strip",
            "superframes": "segment" if flags & SEGMENT else "keep",
            "codecs": [{"name": codec, "kind": codec} for codec in CODECS],
            "gateways": [
                {"from": client, "to": server, "headers": CODECS, "depth": depth}
                for client, server in legs
            ],
        }
    )


if __name__ == "__main__":
    for name, flags in SEEDS:
        with (CAPTURES / f"{name}.pcap").open("rb") as stream:
            frames = [(int(ts * 10**9), data) for ts, data in dpkt.pcap.UniversalReader(stream)]
        for part, end in (("half", len(frames) // 2), ("whole", len(frames))):
            engine = peeltap_core.Engine(config(name, flags))
            for ts, frame in frames[:end]:
                engine.push(ts, frame)
            checkpoint = engine.checkpoint(full=True, slots=4)
            folder = HERE / "corpus" / "checkpoint"
            folder.mkdir(parents=True, exist_ok=True)
            # Small, so that the fuzzer is fast; it knows how to sign what was cut.
            (folder / f"{name}-{part}").write_bytes(bytes((flags,)) + checkpoint[:1500])
