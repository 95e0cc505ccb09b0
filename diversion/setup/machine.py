"""The kernel of this host: carries steps out, in whatever network namespace they belong.

    step ──> Machine ──┬── links, addresses, routes, rules     netlink (`netlink`)
                       ├── namespaces                          mount(2), as `ip netns` does
                       ├── settings                            netlink, /proc/sys/net, ethtool
                       ├── firewall                            nft or iptables with ipset
                       ├── directories                         mkdir(2)
                       └── routing                             FRR's daemons (`frr`)

What is to be made and is there already is an error; what is to be removed and is gone is not: a
step of which nobody knows whether it was done must be undone all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from diversion import kernel
from diversion.setup import SetupError, directories, frr, netlink
from diversion.setup.firewall import iptables, nft
from diversion.setup.steps import Make, Remove, Set, Step
from diversion.setup.things import (
    Directory,
    ForwardPolicy,
    LinkSetting,
    Namespace,
    Offload,
    Ownership,
    Routing,
    Ruleset,
    Setting,
    Sysctl,
    Thing,
    Value,
)

NAMED: Final = Path("/run/netns")
_OWN: Final = "/proc/thread-self/ns/net"
_PROGRAM_SECONDS: Final = 120.0

# Netlink sockets that are kept open, each with a few descriptors.
_SOCKETS: Final = 32


class Machine:
    """What steps are carried out on; `owner` is the topology's name, its mark on what it makes."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._sockets: dict[str, IPRoute] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()

    @property
    def mark(self) -> str:
        """The alias of every interface that is made."""
        return f"peeltap:{self.owner}"

    def apply(self, step: Step, *, strict: bool = True) -> None:
        """Carry a step out; not `strict`: what a step back finds done, or without object, is well.

        Raises SetupError with the kernel's own reason.
        """
        try:
            match step:
                case Make(thing):
                    self._make(thing)
                case Remove(thing):
                    self._remove(thing)
                case Set(setting, value):
                    self._write(setting, value)
        except (NetlinkError, OSError) as error:
            number = error.code if isinstance(error, NetlinkError) else error.errno
            if not strict and number in _DONE_ALREADY:
                return
            raise SetupError(reason(error), was_there=number == errno.EEXIST) from error

    def link_index(self, namespace: str, name: str) -> int:
        """The index of an interface; OSError (ENODEV) if there is none."""
        with self.entered(namespace):
            try:
                return socket.if_nametoindex(name)
            except OSError:
                raise OSError(errno.ENODEV, f"there is no interface {name}") from None

    # --- Things -----------------------------------------------------------------------------------

    def _make(self, thing: Thing) -> None:
        match thing:
            case Namespace(name):
                self._make_namespace(name)
            case Ruleset():
                backend = nft if thing.backend == "nftables" else iptables
                backend.make(self.run, thing)
            case Directory():
                directories.make(thing)
            case Routing():
                frr.start(thing)
            case _:
                netlink.make(self, thing)

    def _remove(self, thing: Thing) -> None:
        match thing:
            case Namespace(name):
                self._remove_namespace(name)
            case Ruleset(namespace) if not self.has(namespace):
                pass
            case Ruleset():
                backend = nft if thing.backend == "nftables" else iptables
                backend.remove(self.run, thing)
            case Directory():
                directories.remove(thing)
            case Routing():
                frr.stop(thing)
            case _ if not self.has(thing.namespace):
                pass
            case _:
                netlink.remove(self, thing)

    def _make_namespace(self, name: str) -> None:
        path = NAMED / name
        NAMED.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
        try:
            _in_a_thread(lambda: _mount_new(path))
        except OSError:
            path.unlink()
            raise
        inside = self.netlink(name)
        inside.link("set", index=1, ifalias=self.mark)
        inside.link("set", index=1, state="up")

    def _remove_namespace(self, name: str) -> None:
        if opened := self._sockets.pop(name, None):
            opened.close()
        path = NAMED / name
        if path.exists():
            with contextlib.suppress(OSError):
                _umount(path)
            path.unlink()

    # --- Settings ---------------------------------------------------------------------------------

    def read(self, setting: Setting) -> Value | None:
        """The value of a setting; None where there is no such thing."""
        if not self.has(setting.namespace):
            return None
        match setting:
            case Sysctl(namespace, name):
                with self.entered(namespace):
                    try:
                        return " ".join(Path("/proc/sys/net", name).read_text().split())
                    except OSError:
                        return None
            case Offload(namespace, link, feature):
                with self.entered(namespace):
                    return netlink.offload(link, feature)
            case ForwardPolicy(namespace, backend, version):
                if backend == "nftables":
                    return nft.forward_policy(self.run, namespace, version)
                return iptables.forward_policy(self.run, namespace, version)
            case Ownership(path):
                return directories.ownership(path)
            case LinkSetting():
                return netlink.link_setting(self, setting)

    def _write(self, setting: Setting, value: Value) -> None:
        match setting:
            case Sysctl(namespace, name):
                with self.entered(namespace):
                    Path("/proc/sys/net", name).write_text(f"{value}\n")
            case Offload(namespace, link, feature):
                with self.entered(namespace):
                    netlink.set_offload(link, feature, bool(value))
            case ForwardPolicy(namespace, backend, version):
                module = nft if backend == "nftables" else iptables
                module.set_forward_policy(self.run, namespace, str(value), version)
            case Ownership(path):
                directories.give(path, str(value))
            case LinkSetting():
                netlink.set_link(self, setting, value)

    # --- Namespaces -------------------------------------------------------------------------------

    def has(self, namespace: str) -> bool:
        """Whether a namespace is there."""
        return not namespace or (NAMED / namespace).exists()

    @contextlib.contextmanager
    def entered(self, namespace: str) -> Iterator[None]:
        """The calling thread inside a namespace; sockets and children made there stay there."""
        if not namespace:
            yield
            return
        with contextlib.ExitStack() as opened:
            back = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, back)
            there = os.open(NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, there)
            kernel.setns(there, kernel.CLONE_NEWNET)
            try:
                yield
            finally:
                kernel.setns(back, kernel.CLONE_NEWNET)

    def netlink(self, namespace: str) -> IPRoute:
        """A netlink socket inside a namespace, kept for later."""
        if namespace not in self._sockets:
            if len(self._sockets) >= _SOCKETS:
                oldest = next(iter(self._sockets))
                self._sockets.pop(oldest).close()
            with self.entered(namespace):
                self._sockets[namespace] = IPRoute()
        return self._sockets[namespace]

    def run(self, namespace: str, argv: list[str], text: str = "") -> str:
        """Run a program inside a namespace; what it wrote. SetupError with its complaint."""
        with self.entered(namespace):
            try:
                done = subprocess.run(
                    argv,
                    input=text,
                    capture_output=True,
                    text=True,
                    timeout=_PROGRAM_SECONDS,
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"},
                )
            except FileNotFoundError:
                raise SetupError(
                    f"the program {argv[0]} is not installed; "
                    f"apt-get install {_PACKAGES.get(argv[0], argv[0])}"
                ) from None
            except subprocess.TimeoutExpired:
                raise SetupError(f"{argv[0]} did not end in {_PROGRAM_SECONDS:g} s") from None
        if done.returncode != 0:
            raise SetupError(f"{argv[0]}: {_first_line(done.stderr)}")
        return done.stdout


_PACKAGES: Final = {
    "nft": "nftables",
    "iptables-save": "iptables",
    "iptables-restore": "iptables",
    "sysctl": "procps",
}

_DONE_ALREADY: Final = (
    errno.ENOENT,
    errno.ENODEV,
    errno.ESRCH,
    errno.EADDRNOTAVAIL,
    errno.EEXIST,
    errno.ENXIO,
)


def reason(error: NetlinkError | OSError) -> str:
    """What the kernel said no with, and what helps."""
    if isinstance(error, NetlinkError):
        told = error.args[1] if len(error.args) > 1 else os.strerror(error.code)
        number = error.code
    else:
        told = error.strerror or str(error)
        number = error.errno or 0
    if number == errno.EOPNOTSUPP:
        return f"{told}: this kernel has no interfaces of that kind"
    if number == errno.EPERM:
        return f"{told}; setup needs root"
    return str(told)


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "it failed without a word"


def _mount_new(path: Path) -> None:
    kernel.unshare(kernel.CLONE_NEWNET)
    kernel.mount(_OWN, path, None, kernel.MS_BIND)


def _umount(path: Path) -> None:
    # linux/fs.h: MNT_DETACH, since somebody may be looking at it.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), 2) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def _in_a_thread(work: object) -> None:
    """Run `work` in a thread that then ends, since it changes the thread's namespace."""
    failed: list[BaseException] = []

    def body() -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
