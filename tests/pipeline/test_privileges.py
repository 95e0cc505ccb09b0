"""What is left after the privileges went. Each case in a child: nothing of it can be undone."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.privileges import (
    PrivilegeError,
    User,
    held,
    lacking,
    make_directories,
    require_writable,
)

# Giving up root needs root; this is the marker of what runs as root only.
needs_root = pytest.mark.netns

ONLY_TWO = "0000000000003000"


def child(code: str) -> str:
    """What a Python of its own prints."""
    script = (
        "import os, sys, subprocess, pathlib\n"
        "from pipeline.privileges import *\n"
        "def sets(path='/proc/thread-self/status'):\n"
        "    words = dict(line.split(':\\t') for line in open(path).read().splitlines()\n"
        "                 if line.startswith(('Cap', 'NoNewPrivs', 'Uid', 'Groups')))\n"
        "    return [words[key] for key in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')]\n"
        + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_root
def test_root_keeps_its_name_and_two_capabilities() -> None:
    out = child(
        "require()\n"
        "drop(None)\n"
        "print(*sets(), os.getuid())\n"
        "print(subprocess.run(['grep', '-E', '^(Cap|NoNew)', '/proc/self/status'],"
        " capture_output=True, text=True).stdout)\n"
    )
    ours, _, others = out.partition("\n")
    assert ours.split() == [ONLY_TWO] * 5 + ["0"]
    # What it starts, such as Suricata, has the same and gets no more.
    assert others.split() == [
        word for name in ("Inh", "Prm", "Eff", "Bnd", "Amb") for word in (f"Cap{name}:", ONLY_TWO)
    ] + ["NoNewPrivs:", "1"]


@needs_root
def test_root_becomes_the_user_that_is_named() -> None:
    out = child(
        "drop(User.find('nobody'))\n"
        "print(*sets(), os.getresuid(), os.getresgid(), os.getgroups() == [os.getgid()])\n"
        "print(subprocess.run(['grep', '^CapEff', '/proc/self/status'],"
        " capture_output=True, text=True).stdout)\n"
    )
    user = User.find("nobody")
    ids = f"{(user.uid,) * 3} {(user.gid,) * 3} True"
    assert out.startswith(f"{' '.join([ONLY_TWO] * 5)} {ids}\n")
    assert ONLY_TWO in out.splitlines()[1]


@needs_root
def test_what_was_given_up_is_gone() -> None:
    out = child(
        "drop(None)\n"
        "import socket\n"
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()\n"
        "for attempt in (lambda: os.setuid(1), lambda: os.chown('/tmp', 1, 1),\n"
        "                lambda: os.chroot('/')):\n"
        "    try:\n"
        "        attempt()\n"
        "    except PermissionError as error:\n"
        "        print('refused')\n"
    )
    assert out == "refused\n" * 3


@needs_root
def test_an_ordinary_user_is_told_what_is_missing() -> None:
    out = child(
        "os.setresuid(65534, 65534, 65534)\n"
        "try:\n"
        "    require()\n"
        "except PrivilegeError as error:\n"
        "    print(error)\n"
        "try:\n"
        "    drop(User('root', 0, 0, ()))\n"
        "except PrivilegeError as error:\n"
        "    print(error)\n"
    )
    first, second = out.splitlines()
    assert first.startswith("CAP_NET_ADMIN and CAP_NET_RAW needed to capture and to make the tap")
    assert second.startswith("run_as: this process cannot become root (Operation not permitted)")


@pytest.mark.parametrize(
    ("effective", "names"),
    [
        (0, ["CAP_NET_ADMIN", "CAP_NET_RAW"]),
        (1 << 12, ["CAP_NET_RAW"]),
        (1 << 13, ["CAP_NET_ADMIN"]),
        (3 << 12, []),
    ],
)
def test_what_is_lacking_has_a_name(effective: int, names: list[str]) -> None:
    assert lacking(effective) == names


def test_a_set_is_read_from_proc(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000003000\n")
    assert held("CapEff", status) == 0x3000
    with pytest.raises(PrivilegeError, match="does not tell CapAmb"):
        held("CapAmb", status)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-such-user", "no user 'no-such-user'"),
        ("root:no-such-group", "no group 'no-such-group'"),
    ],
)
def test_a_user_who_is_not_there(text: str, message: str) -> None:
    with pytest.raises(PrivilegeError, match=message):
        User.find(text)


def test_directories_are_made_the_whole_way(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(mode=0o700)
    make_directories([there, tmp_path / "a" / "b"], None)
    assert (tmp_path / "a" / "b").is_dir()
    assert there.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivilegeError, match="cannot be made: Not a directory"):
        make_directories([tmp_path / "file" / "b"], None)


@needs_root
def test_directories_are_the_users_own(tmp_path: Path) -> None:
    user = User.find("nobody")
    make_directories([tmp_path / "a" / "b", tmp_path], user)
    assert (tmp_path / "a" / "b").stat().st_uid == user.uid
    # What was there stays whose it was.
    assert tmp_path.stat().st_uid == 0


@needs_root
def test_a_directory_that_is_not_ours_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    out = child(
        "drop(User.find('nobody'))\n"
        "try:\n"
        f"    require_writable([pathlib.Path({str(tmp_path)!r})])\n"
        "except PrivilegeError as error:\n"
        "    print(error)\n"
    )
    assert f"{tmp_path} cannot be written to by nobody: chown -R nobody {tmp_path}" in out
    require_writable([tmp_path])
