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
    ends.append(source.begin(sock, ("{PEER[4]}", 5000 + at), decoy, ready.append).over)
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


PORTS = """
def ports(*wanted):
    left = list(wanted)
    source._reserved._ports.take = lambda decoy: left.pop(0)
"""


@pytest.mark.parametrize("left", [False, True])
def test_a_port_that_was_given_up_and_used_again_in_one_round(host: Host, left: bool) -> None:
    """Also where the element of the one before could not be taken out."""
    said = host.python(
        OPEN
        + PORTS
        + f"""
import subprocess
ports(33_333, 33_333, 33_334)
decoy, said = ("{DECOY[4]}", 80), []
one = socket.socket()
over, _ = source.begin(one, ("{PEER[4]}", 4090), decoy, said.append)
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
two, other = socket.socket(), socket.socket()
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
    source.begin(sock, ("{PEER[4]}", 4100 + at), decoy, go).over
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


def test_a_name_is_one_processs_at_a_time(host: Host) -> None:
    said = host.python(
        OPEN
        + """
import subprocess
from diversion.snat.source import SourceError
said = []
try:
    NftSource(loop, "test").open()
except SourceError as error:
    said.append(str(error))
# Somebody else deletes the table: it is gone, and that is all.
subprocess.run(["nft", "delete", "table", "inet", "peeltap_test"], check=True)
source.close()
source.open()
source.close()
tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
say([*said, tables])
"""
    )
    assert said == [
        "source nftables: another gateway2 of the name test runs in this network namespace; "
        "give one of them another `name`",
        "",
    ]


@pytest.mark.parametrize("timestamps", [1, 0])
def test_more_connections_a_minute_than_ports(host: Host, timestamps: int) -> None:
    """A port whose last connection is in TIME_WAIT serves the next one, of another peer.

    A decoy without timestamps has each port once a minute; after that connect(2) refuses, and
    another port is asked for.
    """
    first = 40_000 + timestamps * 1000
    host.decoy.sysctl("ipv4.tcp_timestamps", timestamps)
    host.here.sysctl("ipv4.ip_local_port_range", f"{first} {first + 34}")
    try:
        said = host.python(
            OPEN
            + f"""
seen = []
for at in range(100):
    peer = "{PEER[4]}", {first} + at
    sock, said = socket.socket(), []
    lease = source.begin(sock, peer, ("{DECOY[4]}", 80), said.append)
    source._flush()
    sock.settimeout(60)
    try:
        sock.connect(("{DECOY[4]}", 80))
    except OSError as error:
        seen.append((error.errno, lease.rebind(socket.socket())))
        break
    seen.append(sock.recv(100).decode().strip() == "%s %d" % peer)
    # Its end first comes from here, so that TIME_WAIT is here.
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(100):
        pass
    sock.close()
    lease.over()
    source._flush()
source.close()
say(seen)
"""
        )
    finally:
        host.here.sysctl("ipv4.ip_local_port_range", "32768 60999")
        host.decoy.sysctl("ipv4.tcp_timestamps", 1)
    if timestamps:
        assert said == [True] * 100
    else:
        ports = sum(1 for port in range(first, first + 35) if port % 16)
        assert said == [True] * ports + [[99, True]]


def test_another_port_where_the_kernel_refuses_the_first(host: Host) -> None:
    """As gateway2 asks for it after EADDRNOTAVAIL; the decoy sees the same peer."""
    said = host.python(
        OPEN
        + f"""
import subprocess
def count():
    argv = ["nft", "list", "map", "inet", "peeltap_test", "peers4"]
    return subprocess.run(argv, capture_output=True, text=True).stdout.count(" : ") - 1
decoy, said = ("{DECOY[4]}", 80), []
lease = source.begin(socket.socket(), ("{PEER[4]}", 4200), decoy, said.append)
source._flush()
other = socket.socket()
moved = lease.rebind(other)
other.settimeout(60)
other.connect(decoy)
seen = other.recv(100).decode().strip()
during = count()
lease.over()
source._flush()
after = count()
source.close()
say([said, moved, seen, during, after])
"""
    )
    assert said == [[None], True, f"{PEER[4]} 4200", 1, 0]


def test_a_local_port_that_a_reset_has_set_free_does_not_bring_its_last_peer(host: Host) -> None:
    """conntrack keeps a connection that the decoy has reset, with its addresses, for seconds."""
    said = host.python(
        OPEN
        + PORTS
        + f"""
ports(33_333, 33_333)
decoy, seen = ("{DECOY[4]}", 80), []
for at in range(2):
    sock, said = socket.socket(), []
    lease = source.begin(sock, ("{PEER[4]}", 4300 + at), decoy, said.append)
    source._flush()
    sock.settimeout(60)
    sock.connect(decoy)
    seen.append(sock.recv(100).decode().strip())
    # The decoy reads one byte and closes: what is left makes a reset of it.
    sock.sendall(b"xy")
    try:
        sock.recv(1)
    except ConnectionResetError:
        seen.append("reset")
    sock.close()
    lease.over()
    source._flush()
source.close()
say(seen)
"""
    )
    assert said == [f"{PEER[4]} 4300", "reset", f"{PEER[4]} 4301", "reset"]


def test_two_processes_never_have_one_port(host: Host) -> None:
    """Only one of them may name ports; the other has those that the kernel gives it."""
    said = host.python(
        OPEN
        + f"""
other = NftSource(loop, "other")
other.open()
found = []
for each in (source, other):
    sock, third = socket.socket(), socket.socket()
    each.begin(sock, ("{PEER[4]}", 4400), ("{DECOY[4]}", 80), lambda why: None)
    each._flush()
    # A socket that shares its port lets another have it as well.
    third.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        third.bind(sock.getsockname())
        found.append(None)
    except OSError as error:
        found.append(error.errno)
    third.close()
other.close()
source.close()
say(found)
"""
    )
    assert said == [None, 98]
