"""Provisioning at size: the setup stage beside a shell script of `ip` and `ipset`.

    python -m bench.setup [--segments 200] [--ports 50000]

Each runs in a network and mount namespace of its own, as root: 200 segments, one of them with
50,000 addresses with ports. The script has one command for each thing, as people write such
scripts; `ipset restore`, which takes a whole file, is what the setup stage uses.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = 10.0
"""How many times faster than the script the setup stage has to be."""

FIRST = int(ipaddress.IPv4Address("10.20.128.0"))


def topology(segments: int, ports: int) -> str:
    """Give the file: `ports` addresses with ports in the first segment."""
    last = ipaddress.IPv4Address(FIRST + ports // 100 - 1)
    lines = ["name: bench", "firewall: iptables", "bridges: {trunk0: {}}", "segments:"]
    for at in range(segments):
        shown = f", advertise: [{{addresses: [10.20.128.0-{last}], ports: [1000-1099]}}]"
        lines.append(
            f"  - {{name: s{at}, on: trunk0, network: 10.20.0.0/16, addresses: [10.20.0.2], "
            f"held: [10.20.128.0/17]{shown if at == 0 else ''}}}"
        )
    return "\n".join(lines) + "\n"


def script(segments: int, ports: int) -> Iterator[str]:
    """Give the shell script that makes the same."""
    yield "set -e"
    yield "ip link add trunk0 type bridge"
    yield "ip link set trunk0 up"
    for at in range(segments):
        space, inside = f"seg-s{at}", f"ip -n seg-s{at}"
        yield f"ip netns add {space}"
        yield f"{inside} link set lo up"
        yield f"ip link add ps-s{at} type veth peer name eth0 netns {space}"
        yield f"ip link set ps-s{at} master trunk0"
        yield f"{inside} address add 10.20.0.2/16 dev eth0"
        yield f"{inside} route add local 10.20.128.0/17 dev lo table main"
        if at == 0:
            yield f"ip netns exec {space} sysctl -qw net/ipv4/conf/eth0/route_localnet=1"
            yield f"ip netns exec {space} ipset create advert hash:ip,port maxelem 65536"
            # One entry into the namespace for all of them.
            yield f"ip netns exec {space} sh -e <<'END'"
            for one in range(ports // 100):
                address = ipaddress.IPv4Address(FIRST + one)
                yield from (f"ipset add advert {address},tcp:{port}" for port in range(1000, 1100))
            yield "END"
            yield (
                f"ip netns exec {space} iptables -t nat -A PREROUTING -i eth0 -p tcp -m set "
                "--match-set advert dst,dst -j DNAT --to-destination 127.0.0.1:7000"
            )
        yield f"ip link set ps-s{at} up"
        yield f"{inside} link set eth0 up"


def measure(commands: str) -> dict[str, float]:
    """Run shell commands in namespaces of their own; seconds, and peak MiB of one program."""
    argv = ["unshare", "--net", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs /run\n{commands}"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=complaints)
        # What wait4 tells is of this child and all below it.
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if child.returncode != 0:
            complaints.seek(0)
            raise SystemExit(f"bench: {complaints.read().decode(errors='replace')[-400:]}")
    cpu = used.ru_utime + used.ru_stime
    return {"seconds": wall, "cpu_seconds": cpu, "peak_mib": used.ru_maxrss / 1024}


def compare(segments: int, ports: int) -> dict[str, Any]:
    """Measure both, the setup stage first."""
    with tempfile.TemporaryDirectory(prefix="peeltap-bench-") as directory:
        file = Path(directory) / "bench.yaml"
        file.write_text(topology(segments, ports))
        theirs = Path(directory) / "script.sh"
        theirs.write_text("\n".join(script(segments, ports)) + "\n")
        peeltap = f"{Path(sys.executable).with_name('peeltap')} setup"
        up = f"{peeltap} up -q -t {file} --state {directory}/state"
        told = {"peeltap setup up": measure(up), "shell script": measure(f"sh {theirs}")}
    ratio = told["shell script"]["seconds"] / told["peeltap setup up"]["seconds"]
    return {"segments": segments, "address_ports": ports, "measured": told, "faster": ratio}


def main() -> None:
    """Print a table, or JSON; exit code 1 if the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.setup")
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--ports", type=int, default=50_000, help="a multiple of 100")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    told = compare(asked.segments, asked.ports)
    if asked.json:
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(f"{'':22}{'seconds':>10}{'CPU s':>10}{'peak MiB':>10}\n")
        for name, one in told["measured"].items():
            figures = (one["seconds"], one["cpu_seconds"], one["peak_mib"])
            sys.stdout.write(f"{name:22}" + "".join(f"{figure:10.1f}" for figure in figures) + "\n")
        sys.stdout.write(f"{told['faster']:.1f} times as fast; the target is {TARGET:g}\n")
    sys.exit(told["faster"] < TARGET)


if __name__ == "__main__":
    main()
