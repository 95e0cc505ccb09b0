"""System calls of namespaces: what the kernel says no to is an OSError with its reason."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from diversion import kernel


def test_refusals_carry_the_kernels_reason() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        kernel.setns(-1, kernel.CLONE_NEWNET)
    assert refused.value.errno == errno.EBADF


def test_a_refused_mount_names_its_place() -> None:
    with pytest.raises(OSError, match="No such") as refused:
        kernel.mount("/proc/self/ns/net", "/no/such/place", None, kernel.MS_BIND)
    assert refused.value.filename == "/no/such/place"


def test_flags_that_do_not_exist_are_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.unshare(0x1)


def test_a_child_ends_with_its_parent() -> None:
    """The parent is killed, and the pipe that only its child still holds closes."""
    script = (
        "import os, time\n"
        "from diversion import kernel\n"
        "if os.fork() == 0:\n"
        "    kernel.die_with_parent()\n"
        "    print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as said:
        assert said.readline() == b"ready\n"
        os.kill(parent.pid, 9)
        parent.wait()
        assert said.read() == b""
