"""Directories: made with owner and mode, removed while they are empty.

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
    """Make it; OSError as the kernel says, also if it is there, or its owner is unknown."""
    owner, group = _user(directory.user), _group(directory.group)
    path = Path(directory.path)
    path.mkdir(mode=0o700)
    try:
        # By descriptor: nobody can put something else in its place meanwhile.
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(opened, owner, group)
            os.fchmod(opened, int(directory.mode, 8))
        finally:
            os.close(opened)
    except OSError:
        path.rmdir()
        raise


def remove(directory: Directory) -> None:
    """Remove it if nothing is in it."""
    try:
        Path(directory.path).rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def look(path: str) -> Directory | None:
    """What there is at a path; None if nothing. What is no directory has an empty mode."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    user, group = str(found.st_uid), str(found.st_gid)
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(found.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    mode = f"{stat.S_IMODE(found.st_mode):04o}" if stat.S_ISDIR(found.st_mode) else ""
    return Directory(path, user, group, mode)


def unknown(user: str, group: str) -> str | None:
    """Which of the two this machine does not know; None if it knows both."""
    try:
        _user(user)
        _group(group)
    except OSError as error:
        return str(error.strerror)
    return None


def _user(name: str) -> int:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    raise OSError(errno.EINVAL, f"this machine knows no user {name!r}")


def _group(name: str) -> int:
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    raise OSError(errno.EINVAL, f"this machine knows no group {name!r}")
