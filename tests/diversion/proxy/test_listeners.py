"""Sets of listeners: read whole, changed without touching what stays."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diversion.proxy import listeners as module
from diversion.proxy.addresses import Ends
from diversion.proxy.listeners import Listener, ListenerSet, RulesError, change, read_listeners
from fixtures.netns import Lab, wait_until
from tests.diversion.running import running

WEB = Listener("web", ("192.0.2.1", 80))
SSH = Listener("ssh", ("192.0.2.1", 22))


def test_sets_are_read_as_they_are_written() -> None:
    listeners = (WEB, Listener("x", ("2001:db8::1", 1), "redirect", "/run/netns/x"))
    assert read_listeners([one.as_dict() for one in listeners]) == listeners


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({}, [("", "must be a list of listeners")]),
        ([1, {"listen": "x"}], [("[0]", "must be an object"), ("[1]", "'x' is not ADDRESS:PORT")]),
        ([{"listen": "192.0.2.1:0"}], [("[0]", "port 0")]),
        ([{"listen": "192.0.2.1:1", "accept": "magic"}], [("[0]", "accept: must be one of")]),
        ([{"listen": "192.0.2.1:1", "netns": "x"}], [("[0]", "netns: must be a path")]),
        ([{"listen": "192.0.2.1:1", "netns": "/x\0"}], [("[0]", "netns: may hold printable")]),
        ([{"listen": "192.0.2.1:1", "netns": "/\ud800"}], [("[0]", "netns: may hold printable")]),
        ([{"listen": "192.0.2.1:1", "name": 1}], [("[0]", "name: must be text")]),
        ([{"listen": "192.0.2.1:1", "more": 1}], [("[0]", "must be an object with name")]),
        ([WEB.as_dict(), SSH.as_dict(), WEB.as_dict()], [("[2]", "is there twice")]),
        ([WEB.as_dict()] * 10_001, [("", "more than 10000 listeners")]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(value: Any, problems: list[tuple[str, str]]) -> None:
    with pytest.raises(RulesError) as raised:
        read_listeners(value)
    assert len(raised.value.problems) == len(problems)
    for (place, what), (wanted, words) in zip(raised.value.problems, problems, strict=True):
        assert place == wanted
        assert words in what


@pytest.mark.parametrize(
    ("have", "want", "close", "opened"),
    [
        ((), (WEB,), (), (WEB,)),
        ((WEB,), (), (WEB,), ()),
        ((WEB,), (WEB, SSH), (), (SSH,)),
        ((WEB,), (Listener("other name", WEB.listen),), (), ()),
        (
            (WEB,),
            (Listener("web", WEB.listen, "tproxy"),),
            (WEB,),
            (Listener("web", WEB.listen, "tproxy"),),
        ),
    ],
)
def test_changes(
    have: tuple[Listener, ...],
    want: tuple[Listener, ...],
    close: tuple[Listener, ...],
    opened: tuple[Listener, ...],
) -> None:
    found = change(have, want)
    assert found.close == close
    assert found.open == opened


def free_port() -> Ends:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return "127.0.0.1", found.getsockname()[1]


def test_a_namespace_that_cannot_even_be_looked_for() -> None:
    lost = Listener("lost", ("127.0.0.1", 1), netns="/run/netns/\0")
    with running() as relay:
        listeners = ListenerSet(relay.hub, lambda *_: None, lambda: None)
        relay.do(lambda: listeners.apply((lost,)))
        assert [(each["up"], each["error"]) for each in listeners.report()] == [
            (False, "embedded null byte")
        ]
        relay.do(listeners.stop)


def test_a_set_of_real_listeners() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    one = Listener("one", free_port())
    lost = Listener("lost", ("127.0.0.1", taken.getsockname()[1]))
    heard: list[tuple[Ends, Ends]] = []

    def accepted(sock: socket.socket, peer: Ends, destination: Ends) -> None:
        heard.append((peer, destination))
        sock.close()

    with running() as relay:
        listeners = ListenerSet(relay.hub, accepted, lambda: None)
        relay.do(lambda: listeners.apply((one, lost)))
        states = {each["name"]: (each["up"], each["error"]) for each in listeners.report()}
        assert states["one"] == (True, "")
        assert states["lost"][0] is False
        assert "Address already in use" in states["lost"][1]
        renamed = Listener("another", one.listen)
        relay.do(lambda: listeners.apply((renamed,)))
        with socket.create_connection(one.listen, timeout=60) as peer:
            assert peer.recv(1) == b""
            assert heard == [(peer.getsockname(), one.listen)]
        assert [each["name"] for each in listeners.report() if each["up"]] == ["another"]
        relay.do(lambda: listeners.apply(()))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(one.listen, timeout=60)
        relay.do(listeners.stop)
    taken.close()


@pytest.mark.netns
def test_a_namespace_that_is_made_anew_under_its_name_has_its_listener_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.0)
    path = tmp_path / "edge"
    one = Listener("one", ("127.0.0.1", 4711), netns=str(path))
    with Lab() as lab, running() as relay:
        first, second = lab.namespace("first"), lab.namespace("second")
        changes: list[None] = []
        listeners = ListenerSet(relay.hub, lambda *_: None, lambda: changes.append(None))
        path.symlink_to(first.path)
        relay.do(lambda: listeners.apply((one,)))
        assert (10, 4711) in first.sockets()
        # Under another name in the set it is still looked after.
        relay.do(lambda: listeners.apply((replace(one, name="renamed"),)))
        # As `ip netns delete` leaves it: the listener stays, its namespace may live on.
        path.unlink()
        relay.do(lambda: listeners._retries(0))
        assert (10, 4711) in first.sockets()
        path.symlink_to(second.path)
        second.wait_listening(4711)
        wait_until(lambda: (10, 4711) not in first.sockets(), "the other listener to go")
        wait_until(lambda: bool(changes), "the report")
        assert [each["up"] for each in listeners.report()] == [True]
        relay.do(lambda: listeners.apply(()))
        assert (10, 4711) not in second.sockets()
        relay.do(listeners.stop)
