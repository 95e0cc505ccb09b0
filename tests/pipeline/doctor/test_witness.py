"""A file that grows, turns over or is absent; an interface of which little is wanted."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline.doctor.witness import Follower, Watch


def test_only_what_comes_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_bytes(b"before\n")
    follower = Follower(path)
    assert list(follower.lines()) == []
    with path.open("ab") as file:
        file.write(b"one\ntw")
        file.flush()
        assert list(follower.lines()) == [b"one"]
        file.write(b"o\n")
    assert list(follower.lines()) == [b"two"]
    follower.close()
    follower.close()


def test_a_file_that_comes_later(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "events.json")
    assert list(follower.lines()) == []
    (tmp_path / "events.json").write_bytes(b"first\n")
    assert list(follower.lines()) == [b"first"]
    follower.close()


def test_renamed_and_made_again(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_bytes(b"")
    follower = Follower(path)
    with path.open("ab") as old:
        path.rename(tmp_path / "events.json.1")
        # Written to the old file still, until its writer is told.
        old.write(b"late\n")
        old.flush()
        assert list(follower.lines()) == [b"late"]
        path.write_bytes(b"new\n")
    assert list(follower.lines()) == [b"new"]
    follower.close()


def test_cut_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_bytes(b"x" * 100)
    follower = Follower(path)
    path.write_bytes(b"")
    assert list(follower.lines()) == []
    with path.open("ab") as file:
        file.write(b"again\n")
    assert list(follower.lines()) == [b"again"]
    follower.close()


@pytest.mark.netns
def test_an_interface_shows_only_the_ports_that_are_wanted() -> None:
    from fixtures.netns import Lab

    with Lab() as lab, lab.namespace("host").entered():
        watch = Watch("lo", [61_001, 20_001])
        with socket.create_server(("127.0.0.1", 8080)) as server:
            for port in (61_001, 50_000, 20_001):
                with socket.create_connection(
                    server.getsockname(), source_address=("127.0.0.1", port)
                ) as client:
                    client.sendall(b"from %d" % port)
                    server.accept()[0].recv(100)
        seen = b"".join(watch.frames(1.0))
        watch.close()
    assert b"from 61001" in seen
    assert b"from 20001" in seen
    assert b"from 50000" not in seen
