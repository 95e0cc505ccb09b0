"""IP_TRANSPARENT with a real kernel: whom the decoy sees, how the return route comes and goes."""

from __future__ import annotations

import pytest

from tests.diversion.snat.conftest import DECOY, PEER, Host

pytestmark = [pytest.mark.netns]

OPEN = f"""
from diversion.snat.transparent import TransparentSource
decoys = [parse_range(text) for text in ("{DECOY[4]}:80", "{DECOY[6]}/128", "{DECOY[4]}:80")]
source = TransparentSource(decoys, 9310)
source.open()
"""


def rules(host: Host) -> str:
    return "".join(
        host.here.run(["ip", version, "rule", "show", "priority", "9310"]).decode()
        for version in ("-4", "-6")
    )


@pytest.mark.parametrize("version", [4, 6])
def test_the_decoy_sees_the_peer(host: Host, version: int) -> None:
    peer, decoy = (PEER[version], 4001), (DECOY[version], 80)
    said = host.python(
        OPEN
        + f"""
seen, wrong, sock, over = connect(source, {peer!r}, {decoy!r})
sock.close()
over()
source.close()
say([seen, wrong, source.port_changed])
"""
    )
    assert said == [f"{PEER[version]} 4001", None, 0]
    assert rules(host) == ""


def test_the_return_route_is_narrow_and_made_anew(host: Host) -> None:
    for _ in range(2):  # the second start finds what the killed first one has left
        assert host.python(OPEN + "say(1)") == 1
        found = rules(host)
        assert found.count("lookup 9310") == 2
        assert f"from {DECOY[4]} ipproto tcp sport 80 lookup 9310" in found
        assert f"from {DECOY[6]} ipproto tcp lookup 9310" in found
        table = host.here.run(["ip", "route", "show", "table", "9310"]).decode()
        assert table.split()[:4] == ["local", "default", "dev", "lo"]
    host.python(OPEN + "source.close(); say(1)")
    assert rules(host) == ""


def test_two_of_a_peer_from_one_port_and_one_after_another(host: Host) -> None:
    said = host.python(
        OPEN
        + f"""
peer, decoy = ("{PEER[4]}", 4060), ("{DECOY[4]}", 80)
first = connect(source, peer, decoy)
second = connect(source, peer, decoy)
changed = source.port_changed
for _, _, sock, over in (first, second):
    sock.close()
    over()
# Our side has closed first, so these addresses are in TIME_WAIT here.
third = connect(source, peer, decoy)
sock, said = socket.socket(), []
again = source.begin(socket.socket(), (peer[0], 4061), decoy, said.append).rebind(sock)
sock.connect(decoy)
seen = sock.recv(100).decode().split()[0]
source.close()
say([first[0], second[0].split()[0], changed, third[1], again, seen])
"""
    )
    peer = PEER[4]
    # Whether the kernel lets the third have its port depends on how far the first's end has got.
    assert said[3] in (None, "[Errno 99] Cannot assign requested address")
    assert [*said[:3], *said[4:]] == [f"{peer} 4060", peer, 1, True, peer]


def test_the_return_route_of_another_process_stays(host: Host) -> None:
    host.python(OPEN + "TransparentSource(decoys, 9310).close(); say(1)")
    assert rules(host).count("lookup 9310") == 2
    host.python(OPEN + "source.close(); say(1)")


def test_a_table_is_one_processs_at_a_time(host: Host) -> None:
    said = host.python(
        OPEN
        + """
from diversion.snat.source import SourceError
try:
    TransparentSource(decoys, 9310).open()
except SourceError as error:
    said = str(error)
other = TransparentSource(decoys, 9311)
other.open()
other.close()
source.close()
source.open()
source.close()
say(said)
"""
    )
    assert "the routing table 9310 is another gateway2's" in said
    assert "give one of them another `table`" in said
