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


def test_a_rule_that_somebody_took_away_undoes_nothing_else(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
decoy = ("{DECOY[4]}", 80)
one = connect(source, ("{PEER[4]}", 4070), decoy)
two = connect(source, ("{PEER[4]}", 4071), decoy)
first = ["iptables", "-w", "-t", "nat", "-D", "PEELTAP-TEST", "1"]
subprocess.run(first, check=True)
for _, _, sock, over in (one, two):
    sock.close()
    over()
three = connect(source, ("{PEER[4]}", 4072), decoy)
left = rules("iptables")
source.close()
say([three[0], left])
"""
    )
    assert said == [f"{PEER[4]} 4072", 1]


def test_a_rule_that_could_not_be_removed_is_with_the_next(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
from diversion.snat import iptables
run = iptables._run
decoy = ("{DECOY[4]}", 80)
_, _, sock, over = connect(source, ("{PEER[4]}", 4080), decoy)
sock.close()
iptables._run = lambda argv, script="": None if "-C" in argv else "locked"
over()
rounds()
iptables._run = run
during = rules("iptables")
again = connect(source, ("{PEER[4]}", 4081), decoy)
left = rules("iptables")
source.close()
say([during, again[0], left])
"""
    )
    assert said == [1, f"{PEER[4]} 4081", 1]


def test_the_chain_of_another_process_stays(host: Host) -> None:
    said = host.python(
        OPEN
        + """
IptablesSource(loop, "test").close()
argv = ["iptables", "-t", "nat", "-S"]
chains = subprocess.run(argv, capture_output=True, text=True).stdout
source.close()
say(chains.count("PEELTAP-TEST"))
"""
    )
    assert said == 2


def test_a_name_is_one_processs_at_a_time(host: Host) -> None:
    said = host.python(
        OPEN
        + """
from diversion.snat.source import SourceError
try:
    IptablesSource(loop, "test").open()
except SourceError as error:
    said = str(error)
source.close()
source.open()
source.close()
say(said)
"""
    )
    assert "another gateway2 of the name test runs in this network namespace" in said
