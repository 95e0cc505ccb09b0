"""Directories: made with owner and mode, seen, removed while nothing is in them."""

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


def wanted(path: Path, mode: str = "0750") -> Directory:
    return Directory(str(path), USER, GROUP, mode)


@pytest.mark.parametrize("mode", ["0750", "0755", "0700"])
def test_it_is_seen_as_it_was_made(tmp_path: Path, mode: str) -> None:
    one = wanted(tmp_path / "eve", mode)
    assert directories.look(one.path) is None
    directories.make(one)
    assert directories.look(one.path) == one
    directories.remove(one)
    assert directories.look(one.path) is None


def test_one_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    one = wanted(tmp_path / "eve")
    directories.make(one)
    with pytest.raises(FileExistsError):
        directories.make(wanted(tmp_path / "eve", "0777"))
    assert directories.look(one.path) == one


def test_what_is_in_one_is_not_thrown_away(tmp_path: Path) -> None:
    one = wanted(tmp_path / "eve")
    directories.make(one)
    event = Path(one.path) / "eve.json"
    event.write_text("{}\n")
    directories.remove(one)
    assert event.read_text() == "{}\n"


def test_removing_what_is_gone_is_well_and_what_is_no_directory_is_left(tmp_path: Path) -> None:
    directories.remove(wanted(tmp_path / "none"))
    other = tmp_path / "other"
    other.symlink_to(tmp_path)
    seen = directories.look(str(other))
    assert seen is not None
    assert seen.mode == ""
    with pytest.raises(NotADirectoryError):
        directories.remove(wanted(other))
    assert other.is_symlink()


def test_an_owner_that_nobody_knows(tmp_path: Path) -> None:
    assert directories.unknown(USER, GROUP) is None
    for user, group, what in (("no-body", GROUP, "user"), (USER, "no-body", "group")):
        said = f"this machine knows no {what} 'no-body'"
        assert directories.unknown(user, group) == said
        with pytest.raises(OSError, match=said):
            directories.make(Directory(str(tmp_path / "eve"), user, group, "0750"))
        assert not (tmp_path / "eve").exists()
