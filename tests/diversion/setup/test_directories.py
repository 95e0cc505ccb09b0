"""Directories: made, given to somebody, seen, removed while nothing is in them."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from diversion.setup import directories
from diversion.setup.things import Directory

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name


def test_it_is_its_makers_alone_and_seen_as_it_was_made(tmp_path: Path) -> None:
    one = Directory(str(tmp_path / "eve"))
    assert directories.look(one.path) is None
    assert directories.ownership(one.path) is None
    directories.make(one)
    assert directories.look(one.path) == one
    assert directories.ownership(one.path) == f"{USER}:{GROUP} 0700"
    with pytest.raises(FileExistsError):
        directories.make(one)
    directories.remove(one)
    assert directories.look(one.path) is None


@pytest.mark.parametrize("mode", ["0750", "0755", "0700"])
def test_it_is_given_to_somebody(tmp_path: Path, mode: str) -> None:
    whose = f"{USER}:{GROUP} {mode}"
    directories.give(str(tmp_path), whose)
    assert directories.ownership(str(tmp_path)) == whose


def test_an_owner_that_is_gone_has_a_number_still(tmp_path: Path) -> None:
    directories.give(str(tmp_path), f"{os.geteuid()}:{os.getegid()} 0711")
    assert directories.ownership(str(tmp_path)) == f"{USER}:{GROUP} 0711"


def test_what_is_no_directory_is_given_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o644)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(NotADirectoryError):
            directories.give(str(tmp_path / name), f"{USER}:{GROUP} 0777")
        seen = directories.look(str(tmp_path / name))
        assert seen == Directory(str(tmp_path / name), "file")
        with pytest.raises(NotADirectoryError):
            directories.remove(seen)


def test_what_is_in_one_is_not_thrown_away(tmp_path: Path) -> None:
    one = Directory(str(tmp_path / "eve"))
    directories.make(one)
    event = Path(one.path) / "eve.json"
    event.write_text("{}\n")
    directories.remove(one)
    assert event.read_text() == "{}\n"
    directories.remove(Directory(str(tmp_path / "none")))


def test_an_owner_that_nobody_knows(tmp_path: Path) -> None:
    assert directories.unknown(USER, GROUP) is None
    before = directories.ownership(str(tmp_path))
    for user, group, what in (("no-body", GROUP, "user"), (USER, "no-body", "group")):
        said = f"this machine knows no {what} 'no-body'"
        assert directories.unknown(user, group) == said
        with pytest.raises(OSError, match=said):
            directories.give(str(tmp_path), f"{user}:{group} 0750")
    assert directories.ownership(str(tmp_path)) == before
