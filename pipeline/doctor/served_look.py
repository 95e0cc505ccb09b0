"""Finds out whether page and metrics can be served, or are. Binds at most, and lets go at once."""

from __future__ import annotations

import errno
import ipaddress
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Final

from pipeline import privileges
from pipeline.doctor.served import Address, Token
from pipeline.page.server import PageError, open_door
from pipeline.page.settings import PageSettings
from pipeline.service_settings import Address as Place

_ASK_SECONDS: Final = 5.0


def address(topic: str, key: str, listen: str, *, service_runs: bool) -> Address:
    """Whether `listen` can be listened on, or, while the service runs, whether somebody does."""
    host, port = Place.parse(listen)
    error = _asked(host, port) if service_runs else _bound(host, port)
    return Address(topic, key, listen, error, ipaddress.ip_address(host).is_loopback)


def _bound(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def _asked(host: str, port: int) -> int:
    try:
        # Whoever listens on all addresses is asked on loopback.
        bare = ipaddress.ip_address(host)
        here = ("::1" if bare.version == 6 else "127.0.0.1") if bare.is_unspecified else host
        socket.create_connection((here, port), timeout=_ASK_SECONDS).close()
    except OSError as error:
        return error.errno or errno.ETIMEDOUT
    return 0


def token(settings: PageSettings, run_as: str | None) -> Token:
    """Whether the token will do, and the user that the service becomes can read it."""
    user = None
    if run_as is not None:
        try:
            user = privileges.User.find(run_as)
        except privileges.PrivilegeError:
            # That is told of elsewhere.
            user = None
    uid = os.geteuid() if user is None else user.uid
    name, path = _name(uid), settings.token.file
    try:
        open_door(settings)
        error = None
    except PageError as reason:
        error = str(reason)
    unreadable, to_all = None, False
    if path is not None and error is None:
        groups = {os.getegid(), *os.getgroups()} if user is None else {user.gid, *user.groups}
        unreadable, to_all = _mode(path, uid, groups)
        if user is None and uid == 0:
            # The unit may make another user of it than the one who asks.
            unreadable = None
    file = None if path is None else str(path)
    return Token(settings.token.place, file, name, error, unreadable, to_all)


def _mode(path: Path, uid: int, groups: set[int]) -> tuple[str | None, bool]:
    """Why `uid` cannot read the file, if so, and whether everybody can."""
    found = path.stat()
    bits = found.st_mode >> (6 if found.st_uid == uid else 3 if found.st_gid in groups else 0)
    if not bits & 0o4:
        owner = f"it belongs to {_name(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):o}"
        return owner, False
    return None, bool(found.st_mode & 0o4)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
