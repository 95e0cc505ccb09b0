"""Listening sockets and the destinations of what they accept, without anybody who diverts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from diversion.proxy import listener as listening
from fixtures.netns import Lab


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("accept", ["direct", "redirect"])
def test_who_is_not_diverted_wanted_to_come_here(address: str, accept: str) -> None:
    with listening.listen((address, 0), accept=accept) as made:
        assert not made.getblocking()
        at = made.getsockname()[:2]
        with socket.create_connection(at, timeout=60):
            made.setblocking(True)
            sock, _ = made.accept()
            with sock:
                assert listening.destination(sock, accept) == at


def test_what_cannot_be_opened_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:80: Cannot assign requested address"):
        listening.listen(("192.0.2.1", 80))
    with pytest.raises(OSError, match=r"127\.0\.0\.1:0 in /run/netns/none: No such file"):
        listening.listen(("127.0.0.1", 0), netns="/run/netns/none")
    with pytest.raises(OSError, match=r"in /etc/hostname: .*Invalid argument"):
        listening.listen(("127.0.0.1", 0), netns="/etc/hostname")


def test_a_fifo_in_place_of_a_namespace_holds_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"/fifo: .*Invalid argument"):
        listening.listen(("127.0.0.1", 0), netns=str(tmp_path / "fifo"))


@pytest.mark.netns
def test_a_socket_in_another_namespace_and_this_thread_at_home_again() -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    with Lab() as lab:
        space = lab.namespace("there")
        with listening.listen(("127.0.0.1", 4711), netns=space.path):
            assert Path("/proc/thread-self/ns/net").readlink() == home
            assert (10, 4711) in space.sockets()
            said = space.run(["nc", "-z", "-v", "127.0.0.1", "4711"])
            assert said == b""
        with pytest.raises(OSError, match="in use"), listening.namespace(space.path):
            raise OSError(98, "in use")
        assert Path("/proc/thread-self/ns/net").readlink() == home


@pytest.mark.netns
@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_transparent_socket_may_have_any_address(address: str) -> None:
    foreign = "192.0.2.99" if address == "0.0.0.0" else "2001:db8::99"
    with listening.listen((foreign, 0), accept="tproxy") as made:
        assert made.getsockname()[0] == foreign


def test_a_link_local_destination_has_no_interface_in_it() -> None:
    class Named(socket.socket):
        def getsockname(self) -> tuple[str, int, int, int]:
            return "fe80::1%eth0", 80, 0, 2

    with Named(socket.AF_INET6) as sock:
        assert listening.destination(sock, "direct") == ("fe80::1", 80)


def test_namespaces_are_told_apart_by_what_is_behind_their_names(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).touch()
    path = tmp_path / "link"
    path.symlink_to("one")
    before = listening.identity(str(path))
    assert before == listening.identity(str(tmp_path / "one"))
    path.unlink()
    assert listening.identity(str(path)) is None
    path.symlink_to("other")
    assert listening.identity(str(path)) not in (None, before)
    assert listening.identity("/run/netns/\0") is None
