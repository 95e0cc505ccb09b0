"""Directories and who owns them: made, removed while they are empty, given to somebody.

What a program has written into one is nobody's to throw away: such a directory stays.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from pathlib import Path

from diversion.setup.things import Directory


def make(directory: Directory) -> None:
    """Make it, for its maker alone; OSError as the kernel says, also if it is there."""
    Path(directory.path).mkdir(mode=0o700)


def remove(directory: Directory) -> None:
    """Remove it if nothing is in it."""
    try:
        Path(directory.path).rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def look(path: str) -> Directory | None:
    """What there is at a path; None if nothing."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return Directory(path, "directory" if stat.S_ISDIR(found.st_mode) else "file")


def ownership(path: str) -> str | None:
    """Whose a directory is, as `root:adm 0750`; None if there is none."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    user, group = str(found.st_uid), str(found.st_gid)
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(found.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    return f"{user}:{group} {stat.S_IMODE(found.st_mode):04o}"


def give(path: str, value: str) -> None:
    """Give a directory to whom `ownership` would name; OSError, also if nobody is called so."""
    owner, _, mode = value.partition(" ")
    user, _, group = owner.partition(":")
    uid, gid = _user(user), _group(group)
    # By descriptor: nobody can put something else in its place meanwhile.
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(opened, uid, gid)
        os.fchmod(opened, int(mode, 8))
    finally:
        os.close(opened)


def unknown(user: str, group: str) -> str | None:
    """Which of the two this machine does not know, in words; None if it knows both."""
    try:
        _user(user)
        _group(group)
    except OSError as error:
        return str(error.strerror)
    return None


def _user(name: str) -> int:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return _number(name, "user")


def _group(name: str) -> int:
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    return _number(name, "group")


def _number(name: str, what: str) -> int:
    """An owner that is gone is known by number."""
    if name.isascii() and name.isdigit():
        return int(name)
    raise OSError(errno.EINVAL, f"this machine knows no {what} {name!r}")
