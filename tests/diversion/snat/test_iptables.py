"""SNAT by iptables with a real kernel: whom the decoy sees, and that nothing stays behind."""

from __future__ import annotations

import pytest

from tests.diversion.snat.conftest import DECOY, PEER, Host

pytestmark = [pytest.mark.netns, pytest.mark.tool("iptables")]

OPEN = """
from diversion.snat.iptables import IptablesSource
source = IptablesSource(loop, "test")
source.open()
import subprocess
def rules(program):
    argv = [program, "-t", "nat", "-S"]
    return subprocess.run(argv, capture_output=True, text=True).stdout.count("SNAT")
"""


@pytest.mark.parametrize(("version", "program"), [(4, "iptables"), (6, "ip6tables")])
def test_the_decoy_sees_the_peer_and_the_rule_goes(host: Host, version: int, program: str) -> None:
    said = host.python(
        OPEN
        + f"""
peer, decoy = ("{PEER[version]}", 40{version}01), ("{DECOY[version]}", 80)
seen, wrong, sock, over = connect(source, peer, decoy)
during = rules("{program}")
sock.close()
over()
rounds()
after = rules("{program}")
source.close()
chains = subprocess.run(["{program}", "-t", "nat", "-S"], capture_output=True, text=True).stdout
say([seen, wrong, during, after, "PEELTAP" in chains])
"""
    )
    assert said == [f"{PEER[version]} 40{version}01", None, 1, 0, False]


def test_what_a_killed_process_left_is_removed_at_the_next_start(host: Host) -> None:
    killed = f"""
connect(source, ("{PEER[4]}", 4050), ("{DECOY[4]}", 80))
os._exit(9)
"""
    with pytest.raises(AssertionError):
        host.python(OPEN + killed)
    left = host.here.run(["iptables", "-t", "nat", "-S"]).decode()
    assert left.count("SNAT") == 1
    assert host.python(OPEN + 'left = rules("iptables"); source.close(); say(left)') == 0
    assert "PEELTAP" not in host.here.run(["iptables", "-t", "nat", "-S"]).decode()
