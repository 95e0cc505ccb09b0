"""VLAN segments on a kernel that has 802.1Q: run by `test_vlan` inside a virtual machine.

A switch with two VLANs leads to the host's trunk port. Both segments have the same network: only
the tags tell them apart. Prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.plumbing import ROOT, plumbed

EXAMPLE = ROOT / "fixtures/topologies/vlan-segments.yaml"


def main() -> None:
    """Build, ask, take back."""
    for module in ("8021q", "bridge", "veth", "nf_tables"):
        subprocess.run(["modprobe", "-a", module], check=False)
    told: dict[str, object] = {}
    with plumbed(vms=0) as host:
        switch = host.attacker
        for vlan in (10, 101, 102):
            link = f"vlan{vlan}"
            switch.run(["ip", "link", "add", link, "link", "eth0", "type", "vlan", "id", str(vlan)])
            switch.run(["ip", "link", "set", link, "up"])
        host.lab.address(switch, "vlan101", "10.101.0.1/24")
        host.lab.address(switch, "vlan10", "10.9.0.1/24")
        made = host.setup("up", EXAMPLE)
        told["up"] = made["state"]
        host.serve_inside("seg-office", 7000)
        host.serve_inside("seg-plant", 7000)
        told["office"] = host.ask(switch, "10.101.0.5", 22)
        told["not advertised"] = host.ask(switch, "10.101.0.5", 23)
        host.serve(host.host, 9)
        told["communication"] = host.ask(switch, "10.9.0.5", 9)
        # The other segment has the same address, behind another tag, and shows port 80 only.
        switch.run(["ip", "address", "flush", "dev", "vlan101"])
        host.lab.address(switch, "vlan102", "10.101.0.9/24")
        told["plant"] = host.ask(switch, "10.101.0.5", 80)
        told["plant shows no 22"] = host.ask(switch, "10.101.0.5", 22)
        undone = host.setup("down", EXAMPLE)
        told["down"] = [undone["again"], undone["state"], undone["trace"]]
    sys.stdout.write(f"\nRESULT {json.dumps(told)}\n")


if __name__ == "__main__":
    main()
