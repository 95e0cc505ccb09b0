"""What the service may do, and giving up all the rest.

`peeltap run` needs two capabilities: CAP_NET_RAW to capture and inject, CAP_NET_ADMIN to make the
tap and to go promiscuous; the Suricata that it runs needs the same two. `drop` keeps them, in every
set, so that a Suricata started later has them too, and gives up everything else for good:

    started as              becomes
    root, `run_as: USER`    that user, with the two capabilities
    root                    root in name: owner of root's files, without the power over others'
    a unit's own user       as it is (the unit has given no more)

It is done as early as can be: only directories and the tap are made before. The ring is opened, and
both are opened again after an interface was gone, with nothing else than these two.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

# linux/capability.h
CAP_SETPCAP: Final = 8
CAP_NET_ADMIN: Final = 12
CAP_NET_RAW: Final = 13
KEPT: Final = {CAP_NET_ADMIN: "CAP_NET_ADMIN", CAP_NET_RAW: "CAP_NET_RAW"}
_VERSION_3: Final = 0x20080522

# linux/prctl.h
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2


class PrivilegeError(Exception):
    """The service may not do what it has to, or cannot give up the rest; one sentence."""


class User(NamedTuple):
    """Whom the service becomes."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def find(cls, text: str) -> User:
        """Look up `user` or `user:group`; raises PrivilegeError."""
        name, _, group = text.partition(":")
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            raise PrivilegeError(
                f"run_as: there is no user {name!r}: make one (useradd --system {name}), or name"
                " another"
            ) from None
        gid = known.pw_gid
        if group:
            try:
                gid = grp.getgrnam(group).gr_gid
            except KeyError:
                raise PrivilegeError(f"run_as: there is no group {group!r}") from None
        return cls(name, known.pw_uid, gid, tuple(os.getgrouplist(name, gid)))


def held(field: str = "CapEff", status: Path = Path("/proc/thread-self/status")) -> int:
    """A capability set of this thread as a bit mask: CapEff, CapPrm, CapInh, CapBnd or CapAmb."""
    for line in status.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value, 16)
    raise PrivilegeError(f"{status} does not tell {field}")


def lacking(effective: int) -> list[str]:
    """Names of what the service needs and `effective` does not hold."""
    return [name for number, name in KEPT.items() if not effective >> number & 1]


def require() -> None:
    """Raise PrivilegeError if this process could not capture."""
    absent = lacking(held("CapPrm"))
    if absent:
        raise PrivilegeError(
            f"{' and '.join(absent)} needed to capture and to make the tap: start it as root (it"
            " gives up everything else), or from the systemd unit"
        )


def drop(user: User | None) -> None:
    """Give up all but the two capabilities, for this thread and what it starts from now on.

    Capabilities belong to threads: call it before the first one is started. Raises PrivilegeError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    keep = held("CapPrm") & sum(1 << number for number in KEPT)
    # 1. Nothing that is executed gets more. Needs CAP_SETPCAP; without it there is, as a rule, not
    # more to get: a unit has bounded the set, an ordinary user never had it.
    if held() >> CAP_SETPCAP & 1:
        for number in range(64):
            present = libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
            if present < 0:
                break
            if present and number not in KEPT:
                _prctl(libc, "the bounding set", _PR_CAPBSET_DROP, number)
    # 2. The user. The permitted set survives the change only if that is asked for.
    if user is not None:
        _prctl(libc, "PR_SET_KEEPCAPS", _PR_SET_KEEPCAPS, 1)
        try:
            os.setgroups(user.groups)
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        except OSError as error:
            raise PrivilegeError(
                f"run_as: this process cannot become {user.name} ({error.strerror}); start it as"
                " root, or let the unit's User= do it and take run_as out"
            ) from error
    # 3. This thread's own sets; what is inheritable and ambient goes on to Suricata.
    _capset(libc, keep)
    for number in KEPT:
        if keep >> number & 1:
            _prctl(libc, "the ambient set", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)
    # 4. No file gives anything back.
    _prctl(libc, "no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def make_directories(directories: Iterable[Path], user: User | None) -> None:
    """Make what is absent of `directories`, the whole way, as the later user's own.

    Raises PrivilegeError with a sentence that names the directory.
    """
    for directory in directories:
        absent = [one for one in (directory, *directory.parents) if not one.exists()]
        try:
            for one in reversed(absent):
                one.mkdir(mode=0o755)
            if user is not None and absent:
                os.chown(directory, user.uid, user.gid)
        except OSError as error:
            raise PrivilegeError(f"{directory} cannot be made: {error.strerror}") from error


def require_writable(directories: Iterable[Path]) -> None:
    """Raise PrivilegeError for a directory in which this process cannot make files."""
    for directory in directories:
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            who = _name(os.geteuid())
            raise PrivilegeError(
                f"{directory} cannot be written to by {who}: chown -R {who} {directory}, or name"
                " another directory"
            )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _prctl(libc: ctypes.CDLL, what: str, option: int, *arguments: int) -> None:
    filled = [*arguments, 0, 0, 0, 0][:4]
    if libc.prctl(option, *map(ctypes.c_ulong, filled)) != 0:
        _refused(what)


def _capset(libc: ctypes.CDLL, keep: int) -> None:
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = keep & 0xFFFFFFFF, keep >> 32
    # effective, permitted, inheritable; first the lower, then the upper 32 capabilities.
    data = (ctypes.c_uint32 * 6)(low, low, low, high, high, high)
    if libc.capset(header, data) != 0:
        _refused("the capabilities")


def _refused(what: str) -> None:
    reason = os.strerror(ctypes.get_errno())
    raise PrivilegeError(f"privileges cannot be given up: {what}: {reason}")
