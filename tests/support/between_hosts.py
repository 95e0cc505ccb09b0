"""Two hosts, each with a network behind it that the other reaches: by routes alone, or a tunnel.

    python -m tests.support.between_hosts KIND...     as root: routes, ipip, gre, vxlan

Ends with 0 where each of them carried a connection and went down without a trace. All is done in
this one process, so that a virtual machine can do it too. IPIP and GRE need a kernel that has them,
and has loaded them: the first of its kind brings devices (tunl0, gre0) to every namespace made
after it, which would otherwise look like a trace.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from fixtures.netns import Lab, Namespace
from pipeline import topology_file
from pipeline.topology_file import TopologyFile
from tests.support import setup_inside

KINDS = ("routes", "ipip", "gre", "vxlan")
RIGHT: dict[str, Any] = {"answer": "10.1.0.1", "states": ["up", "up"], "left": []}
"""What `crossing` tells of a kind that carries connections and goes without a trace."""

_SECONDS = 60.0

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


def topology(kind: str, here: int, there: int) -> TopologyFile:
    """The file of host `here`, whose neighbour is `there`."""
    words = {"here": here, "there": there, "kind": kind, "name": f"host{here}"}
    words["vni"] = "vni: 77" if kind == "vxlan" else ""
    text = _HOST.format(**words, routes=_ROUTES.format(**words) if kind == "routes" else "")
    text += "" if kind == "routes" else _TUNNEL.format(**words)
    return topology_file.parse(text, f"{kind}{here}.yaml")


def crossing(kind: str) -> dict[str, Any]:
    """Who came, says a service behind one host when it is asked from behind the other one.

    With it what state both hosts were in, and what was left of them afterwards; see `RIGHT`.
    """
    with Lab() as lab:
        hosts = [lab.namespace("one"), lab.namespace("two")]
        lab.connect((hosts[0], "eth0", ()), (hosts[1], "eth0", ()))
        files = [topology(kind, here, 3 - here) for here in (1, 2)]
        told: dict[str, Any] = {"answer": "", "states": [], "left": []}
        both = list(zip(hosts, files, strict=True))
        for host, file in both:
            with host.entered():
                told["states"].append(setup_inside.up(file, _state(lab, file))["state"])
        told["answer"] = _asked(*hosts)
        for host, file in both:
            with host.entered():
                undone = setup_inside.down(file, _state(lab, file))
            told["left"] += [*undone["again"], *undone["trace"]]
    return told


def _state(lab: Lab, file: TopologyFile) -> Path:
    return lab.directory / file.settings.name


def _asked(client: Namespace, server: Namespace) -> str:
    """The address of whoever connects, as the server's host sees it; or why nobody could."""
    with server.entered():
        listener = socket.create_server(("10.2.0.1", 80))
    with client.entered():
        asking = socket.socket()
    with listener, asking:
        listener.settimeout(_SECONDS)
        asking.settimeout(_SECONDS)
        try:
            asking.bind(("10.1.0.1", 0))
            asking.connect(("10.2.0.1", 80))
            accepted, peer = listener.accept()
            with accepted:
                accepted.sendall(b"word")
                asking.recv(4, socket.MSG_WAITALL)
        except OSError as error:
            return str(error)
    return str(peer[0])


def ipip() -> dict[str, Any]:
    """IPIP, for a virtual machine."""
    return crossing("ipip")


def gre() -> dict[str, Any]:
    """GRE, for a virtual machine."""
    return crossing("gre")


SCENARIOS = (ipip, gre)


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
