"""What conntrack forgets, and what it does not; that a peer so comes again is in test_nft.py."""

from __future__ import annotations

import pytest

from tests.diversion.snat.conftest import DECOY, HERE, Host

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft")]

TRACK = """
import subprocess
table = "table inet track { chain c { type filter hook output priority 0; ct state new; }; }"
subprocess.run(["nft", "-f", "-"], input=table.encode(), check=True)
def known():
    with open("/proc/thread-self/net/nf_conntrack") as file:
        return sorted(line.split("sport=")[1].split()[0] for line in file if "dport=80" in line)
"""


@pytest.mark.parametrize("version", [4, 6])
def test_one_connection_is_forgotten_and_no_other(host: Host, version: int) -> None:
    here, decoy = HERE[version], DECOY[version]
    said = host.python(
        TRACK
        + f"""
from diversion.snat.conntrack import Conntrack
family = socket.AF_INET6 if {version} == 6 else socket.AF_INET
sockets = []
for port in (4{version}01, 4{version}02):
    sock = socket.socket(family)
    sock.bind(("{here}", port))
    sock.connect(("{decoy}", 80))
    sockets.append(sock)
conntrack = Conntrack()
# What other tests left behind may expire meanwhile.
ours = lambda: [port for port in known() if port.startswith("4{version}0")]
before = ours()
conntrack.forget([(("{here}", 4{version}01), ("{decoy}", 80)), (("{here}", 9), ("{decoy}", 80))])
after = ours()
conntrack.forget([(("{here}", 10 + port), ("{decoy}", 80)) for port in range(1200)])
for sock in sockets:
    sock.close()
say([before, after])
"""
    )
    assert said == [[f"4{version}01", f"4{version}02"], [f"4{version}02"]]
