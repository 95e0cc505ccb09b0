"""Two hosts, each with a network behind it that the other reaches: by routes alone, or a tunnel.

    python -m tests.support.between_hosts KIND...     as root: routes, ipip, gre, vxlan

Ends with 0 where each of them carried a connection and went down without a trace. IPIP and GRE need
a kernel that has them, and there the fallback devices (tunl0, gre0), which it otherwise makes in
every namespace together with the first tunnel: net.core.fb_tunnels_only_for_init_net=1.
"""

from __future__ import annotations

import sys

from tests.support.plumbing import plumbed

KINDS = ("routes", "ipip", "gre", "vxlan")

_HOST = """
name: {name}
bridges:
  br0: {{addresses: [198.51.100.{here}/24], ports: [eth0]{routes}}}
  behind: {{addresses: [10.{here}.0.1/24]}}
"""

_ROUTES = ", routes: [{{to: 10.{there}.0.0/24, via: 198.51.100.{there}}}]"

_TUNNEL = """
tunnels:
  peer0:
    kind: {kind}
    {vni}
    local: 198.51.100.{here}
    remote: 198.51.100.{there}
    address: 10.99.0.{here}/24
    routes: [{{to: 10.{there}.0.0/24, via: 10.99.0.{there}}}]
"""


def topology(kind: str, here: int, there: int) -> str:
    """The file of host `here`, whose neighbour is `there`."""
    words = {"here": here, "there": there, "kind": kind, "name": f"host{here}"}
    words["vni"] = "vni: 77" if kind == "vxlan" else ""
    text = _HOST.format(**words, routes=_ROUTES.format(**words) if kind == "routes" else "")
    return text if kind == "routes" else text + _TUNNEL.format(**words)


def crossing(kind: str) -> dict[str, object]:
    """What a service behind one host said to the other one, and what was left of both topologies.

    As it shall be: `answer` is 10.1.0.1, the address behind the host that asked; `left` is empty.
    """
    with plumbed(vms=0) as host:
        places = [host.host, host.attacker]
        host.attacker.run(["ip", "address", "flush", "dev", "eth0"])
        files = [
            host.written(f"{kind}{here}.yaml", topology(kind, here, 3 - here)) for here in (1, 2)
        ]
        states = [
            host.setup("up", file, place)["state"]
            for file, place in zip(files, places, strict=True)
        ]
        host.serve(host.attacker, 80)
        answer = host.ask(host.host, "10.2.0.1", 80, "-s", "10.1.0.1")
        left: list[object] = [one for one in states if one != "up"]
        for file, place in zip(files, places, strict=True):
            undone = host.setup("down", file, place)
            left += [*undone["again"], *undone["trace"]]
    return {"answer": answer, "left": left}


RIGHT = {"answer": "10.1.0.1", "left": []}


def main(kinds: list[str]) -> int:
    """Try each kind, and say how it went."""
    wrong = 0
    for kind in kinds:
        told = crossing(kind)
        wrong += told != RIGHT
        sys.stdout.write(f"{kind}: {'crossed' if told == RIGHT else told}\n")
    return 1 if wrong or not kinds else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
