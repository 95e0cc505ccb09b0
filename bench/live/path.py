"""What a packet costs on its way from br1 to vtap0: the kernel's own copy beside Peeltap.

    python -m bench.live.path [--sizes 64,512,1448] [--packets 400000] [--rounds 5]

In namespaces of its own, as root. A sender puts proxied connections on a bridge, a reader with a
ring of its own stands at the tap as an IDS would, and between them

    nothing   the bridge alone, not promiscuous: what sending and forwarding cost
    copy      the kernel copies br1's ingress to vtap0's (tc u32, mirred): the limit
    live      Peeltap

The figure is the CPU time of sender and Peeltap, in which the kernel's own work is, less that of
`nothing`, by packet; rounds are interleaved, ratios taken within each, and medians shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from fixtures.netns import Lab, Namespace

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "core/target/release/examples/wire"
CONFIG = {
    "codecs": [{"name": "proxy-v1", "kind": "proxy-v1"}],
    "gateways": [{"from": "172.16.23.1/32", "to": "172.16.23.2/32", "headers": ["proxy-v1"]}],
}
WAYS = ("nothing", "copy", "live")


def start(namespace: Namespace, *arguments: str) -> subprocess.Popen[bytes]:
    """A part that says when it is ready, and ends when its input does."""
    part = subprocess.Popen(
        namespace.command([WIRE, *arguments], contained=False),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert part.stdout is not None
    assert part.stdout.readline() == b"ready\n", arguments
    return part


def end(part: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = part.communicate()
    result: dict[str, Any] = json.loads(said)
    return result


def build(lab: Lab) -> tuple[Namespace, Namespace]:
    host, guest = lab.namespace("host"), lab.namespace("guest")
    for namespace in (host, guest):
        for scope in ("all", "default"):
            namespace.sysctl(f"ipv6.conf.{scope}.disable_ipv6", 1)
    lab.attach(guest, "eth0", lab.bridge(host, "br1", snooping=False))
    host.run(["ip", "tuntap", "add", "vtap0", "mode", "tap", "vnet_hdr"])
    host.run(["ip", "link", "set", "vtap0", "up", "arp", "off"])
    return host, guest


def once(way: str, size: int, packets: int, rate: float, ring: int) -> tuple[float, dict[str, Any]]:
    """CPU nanoseconds a packet, and what every part said."""
    with Lab() as lab:
        host, guest = build(lab)
        config = lab.directory / "config.json"
        config.write_bytes(orjson.dumps(CONFIG))
        # The tap carries nothing while nobody has opened it.
        parts = {}
        if way == "copy":
            parts["holder"] = start(host, "live", str(config), "lo", "vtap0", "1")
            host.run(["ip", "link", "set", "br1", "promisc", "on"])
            host.run(["tc", "qdisc", "add", "dev", "br1", "clsact"])
            copy = ["u32", "match", "u32", "0", "0", "action", "mirred", "ingress", "redirect"]
            host.run(["tc", "filter", "add", "dev", "br1", "ingress", *copy, "dev", "vtap0"])
        elif way == "live":
            parts["live"] = start(host, "live", str(config), "br1", "vtap0", str(ring))
        if way != "nothing":
            parts["drain"] = start(host, "drain", "vtap0")
        send = [WIRE, "send", "eth0", str(size), str(packets), str(rate)]
        said = {"send": json.loads(guest.run(send, timeout=300))}
        said |= {name: end(part) for name, part in reversed(parts.items())}
    cpu = said["send"]["cpu"] + said.get("live", {"cpu": 0})["cpu"]
    return cpu / said["send"]["packets"] * 1e9, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="64,512,1448")
    parser.add_argument("--packets", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100_000)
    parser.add_argument("--ring", type=int, default=64, metavar="MIB")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    print("CPU ns a packet; of copy and live, what they cost more than nothing")
    print("bytes   nothing      copy      live   live/copy")
    for size in map(int, arguments.sizes.split(",")):
        rows = []
        for _ in range(arguments.rounds):
            row = {}
            for way in WAYS:
                row[way], said = once(way, size, arguments.packets, arguments.rate, arguments.ring)
                if arguments.verbose:
                    print(way, size, said, file=sys.stderr)
            nothing = row["nothing"]
            rows.append((nothing, row["copy"] - nothing, row["live"] - nothing))
        nothing, copy, live = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(row[2] / row[1] for row in rows)
        print(f"{size:5} {nothing:9.0f} {copy:9.0f} {live:9.0f} {ratio:11.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
