"""The few system calls of namespaces that Python 3.11 does not name, and the C library does.

Each raises OSError with the kernel's own reason. unshare(2), setns(2), mount(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

# linux/sched.h
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# linux/mount.h
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own; a user namespace wants the only thread."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace behind `fd`, which is of `kind` CLONE_NEW*."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def mount(source: str, target: str | Path, kind: str | None, flags: int = 0) -> None:
    """Mount `source` at `target`; `kind` is a file system, None for a bind mount."""
    name = None if kind is None else kind.encode()
    done = _libc.mount(
        source.encode(), os.fsencode(target), name, ctypes.c_ulong(flags), ctypes.c_void_p(None)
    )
    _check(done, os.fspath(target))


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends.

    A change of credentials takes the wish back, so it is made after the last of those.
    """
    _check(_libc.prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL), 0, 0, 0))


def _check(result: int, *names: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *names)
