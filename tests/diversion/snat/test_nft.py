"""SNAT by nftables with a real kernel: whom the decoy sees, and that nothing stays behind."""

from __future__ import annotations

import json

import pytest

from tests.diversion.snat.conftest import DECOY, PEER, Host

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft")]

OPEN = """
from diversion.snat.nft import NftSource
source = NftSource(loop, "test")
source.open()
"""


def elements(host: Host, name: str = "peers4") -> int:
    listed = host.here.run(["nft", "-j", "list", "map", "inet", "peeltap_test", name])
    [found] = [one["map"] for one in json.loads(listed)["nftables"] if "map" in one]
    return len(found.get("elem", []))


@pytest.mark.parametrize("version", [4, 6])
def test_the_decoy_sees_the_peer_and_the_element_goes(host: Host, version: int) -> None:
    said = host.python(
        OPEN
        + f"""
import subprocess
def count():
    argv = ["nft", "list", "map", "inet", "peeltap_test", "peers{version}"]
    return subprocess.run(argv, capture_output=True, text=True).stdout.count(" : ") - 1
peer, decoy = ("{PEER[version]}", 40{version}01), ("{DECOY[version]}", 80)
seen, wrong, sock, over = connect(source, peer, decoy)
during = count()
sock.close()
over()
rounds()
after = count()
source.close()
tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
say([seen, wrong, during, after, tables])
"""
    )
    assert said == [f"{PEER[version]} 40{version}01", None, 1, 0, ""]


def test_what_a_killed_process_left_is_removed_at_the_next_start(host: Host) -> None:
    killed = f"""
connect(source, ("{PEER[4]}", 4050), ("{DECOY[4]}", 80))
say("left")
os._exit(9)
"""
    with pytest.raises(AssertionError):
        host.python(OPEN + killed)
    assert elements(host) == 1
    again = f"""
seen, wrong, sock, over = connect(source, ("{PEER[4]}", 4050), ("{DECOY[4]}", 80))
say([seen, wrong, source.port_changed])
sock.close()
over()
rounds()
os._exit(0)
"""
    # conntrack still has the killed one's connection; the peer keeps its port all the same.
    assert host.python(OPEN + again) == [f"{PEER[4]} 4050", None, 0]
    assert elements(host) == 0
    host.here.run(["nft", "delete", "table", "inet", "peeltap_test"])


def test_two_of_a_peer_from_one_port_and_one_after_another(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
peer, decoy = ("{PEER[4]}", 4060), ("{DECOY[4]}", 80)
first = connect(source, peer, decoy)
second = connect(source, peer, decoy)
found = [first[0], second[0], source.port_changed]
for _, _, sock, over in (first, second):
    sock.close()
    over()
rounds()
third = connect(source, peer, decoy)
source.close()
say([*found, third[0], third[1]])
"""
    )
    peer = PEER[4]
    assert said == [f"{peer} 4060", f"{peer} 4061", 1, f"{peer} 4060", None]


def test_many_in_one_round(host: Host) -> None:
    """More than one message holds, put in and taken out at once."""
    said = host.python(
        OPEN
        + f"""
import resource
decoy = ("{DECOY[4]}", 80)
sockets, ready, ends = [], [], []
for at in range(1000):
    sock = socket.socket()
    sockets.append(sock)
    ends.append(source.begin(sock, ("{PEER[4]}", 5000 + at), decoy, ready.append))
rounds()
before = len(ready), set(ready) == {{None}}
import subprocess
argv = ["nft", "list", "map", "inet", "peeltap_test", "peers4"]
many = subprocess.run(argv, capture_output=True, text=True).stdout.count(" : ") - 1
for over in ends:
    over()
rounds()
none = subprocess.run(argv, capture_output=True, text=True).stdout.count(" : ") - 1
source.close()
say([*before, many, none])
"""
    )
    assert said == [1000, True, 1000, 0]


def test_a_map_that_somebody_flushed_is_no_error(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
import subprocess
one = connect(source, ("{PEER[4]}", 4070), ("{DECOY[4]}", 80))
subprocess.run(["nft", "flush", "map", "inet", "peeltap_test", "peers4"], check=True)
one[3]()
rounds()
two = connect(source, ("{PEER[4]}", 4071), ("{DECOY[4]}", 80))
source.close()
say(two[0])
"""
    )
    assert said == f"{PEER[4]} 4071"


def test_a_table_that_somebody_deleted_is_said(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
import subprocess
subprocess.run(["nft", "delete", "table", "inet", "peeltap_test"], check=True)
say(connect(source, ("{PEER[4]}", 4080), ("{DECOY[4]}", 80))[1])
os._exit(0)
"""
    )
    assert said == "nftables takes no element: No such file or directory"


AT = """
class At(socket.socket):
    def bind(self, to):
        super().bind((to[0], 33_333))
"""


@pytest.mark.parametrize("left", [False, True])
def test_a_port_that_was_given_up_and_used_again_in_one_round(host: Host, left: bool) -> None:
    """Also where the element of the one before could not be taken out."""
    said = host.python(
        OPEN
        + AT
        + f"""
import subprocess
decoy, said = ("{DECOY[4]}", 80), []
one = At()
over = source.begin(one, ("{PEER[4]}", 4090), decoy, said.append)
rounds()
one.close()
if {left}:
    change = source._elements._change
    def refuse(kind, *more):
        if kind == 14:
            raise OSError(12, "no memory")
        change(kind, *more)
    source._elements._change = refuse
over()
if {left}:
    rounds()
    source._elements._change = change
two, other = At(), socket.socket()
source.begin(two, ("{PEER[4]}", 4091), decoy, said.append)
source.begin(other, ("{PEER[4]}", 4092), decoy, said.append)
rounds()
two.connect(decoy)
seen = two.recv(100).decode().strip()
argv = ["nft", "list", "map", "inet", "peeltap_test", "peers4"]
count = subprocess.run(argv, capture_output=True, text=True).stdout.count(" : ") - 1
source.close()
say([said, seen, count])
"""
    )
    assert said == [[None, None, None], f"{PEER[4]} 4091", 2]


def test_one_that_fails_to_go_on_keeps_nobody_from_it(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
import subprocess
decoy, said, failed = ("{DECOY[4]}", 80), [], []
loop.failed = lambda error: failed.append(str(error))
def broken(why):
    raise ValueError("broken")
sockets = [socket.socket(), socket.socket()]
ends = [
    source.begin(sock, ("{PEER[4]}", 4100 + at), decoy, go)
    for at, (sock, go) in enumerate(zip(sockets, (broken, said.append)))
]
rounds()
for over in ends:
    over()
rounds()
argv = ["nft", "list", "map", "inet", "peeltap_test", "peers4"]
count = subprocess.run(argv, capture_output=True, text=True).stdout.count(" : ") - 1
source.close()
say([failed, said, count])
"""
    )
    assert said == [["broken"], [None], 0]


def test_the_table_of_another_process_stays(host: Host) -> None:
    said = host.python(
        OPEN
        + """
import subprocess
NftSource(loop, "test").close()
tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
source.close()
say(tables.strip())
"""
    )
    assert said == "table inet peeltap_test"
