"""A world of namespaces that cannot outlive its maker, for root and for ordinary users.

    maker ──> keeper ──> first process of the world ──> programs
              (outside)   root in it, and its PID 1

The world has a user, network, PID, mount, IPC and UTS namespace of its own, and in them `/run`,
`/proc` and `/sys`. The kernel kills the keeper when the maker ends in whatever way, the first
process when the keeper does, and with the first process of a PID namespace everything in it;
interfaces and further network namespaces go with the last process. Nothing has to be cleaned up, so
nothing can be forgotten.

    def show(world: World) -> int:
        vm = world.space("vm1")
        vm.spawn(["nginx", ...], log="nginx.log", plain=True)
        ...

    code = run_world(show, directory)

What joins them, the setup stage makes (diversion.setup); namespaces of its own are `world.named`.

Root of a world is no root of the machine. Where an ordinary user made it, the world knows a single
user id, so that a server which wants to change its own to another cannot; run it `plain`, as nobody
in a user namespace below, where it has nothing to give up. Needs util-linux's nsenter and unshare,
pyroute2, and a kernel that lets this user make user namespaces; `why_not` says if it does not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from pyroute2 import IPRoute, NetlinkError  # type: ignore[import-untyped]

from diversion import kernel

# include/net/tcp_states.h
TCP_LISTEN: Final = 0x0A

# Where `ip netns` looks for them.
_NAMED: Final = Path("/run/netns")

# The network namespace of the thread that asks.
_OWN: Final = "/proc/thread-self/ns/net"

# What forbids user namespaces: the switch, the value that does, and one that does not. The second
# and the third are Debian's and Ubuntu's own.
_SWITCHES: Final = (
    ("user.max_user_namespaces", "0", "10000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_NOBODY: Final = 65534

_NEW: Final = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)


class NamespaceError(Exception):
    """The world could not be built, or a program in it did not do its part; one sentence."""


@dataclass(frozen=True)
class Program:
    """A program that stays, and the file that takes what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The last line that it said."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def wait(self, seconds: float = 10) -> int:
        """Its exit code; it is killed if it does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(frozen=True)
class Space:
    """One network namespace of the world, which `ip netns exec NAME` enters as well."""

    name: str
    path: Path
    directory: Path

    def command(self, argv: Sequence[str | Path], *, plain: bool = False) -> list[str]:
        """`argv` as the first process has to call it; its process id is the program's own.

        `plain`: as nobody, without any capability over the world.
        """
        enter = ["nsenter", f"--net={self.path}", "--"]
        if plain:
            enter += ["unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--"]
        return [*enter, *map(str, argv)]

    def spawn(self, argv: Sequence[str | Path], *, log: str, plain: bool = False) -> Program:
        """Start a program that stays; what it says goes to `log` in the world's directory.

        It has a session of its own, so that Ctrl-C at the terminal reaches the first process alone.
        """
        path = self.directory / log
        with path.open("ab") as output:
            process = subprocess.Popen(
                self.command(argv, plain=plain),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        return Program(Path(argv[0]).name, process, path)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread inside this namespace; sockets that it opens there stay there."""
        with _staying(), _opened(self.path) as there:
            kernel.setns(there, kernel.CLONE_NEWNET)
            yield

    @contextlib.contextmanager
    def netlink(self) -> Iterator[IPRoute]:
        """A netlink socket inside this namespace; NamespaceError where the kernel says no."""
        # Its parameter `netns` would fork this process for each socket, signal handlers and all.
        try:
            with self.entered(), IPRoute() as socket:
                yield socket
        except NetlinkError as error:
            raise NamespaceError(f"{self.name}: the kernel says no to a link: {error}") from error

    def sysctl(self, key: str, value: str | int) -> None:
        """Set `net.KEY`; /proc/sys/net shows the namespace of whoever opens it."""
        with self.entered():
            Path("/proc/sys/net", *key.split(".")).write_text(f"{value}\n")

    def listening(self) -> set[int]:
        """The TCP ports on which something listens."""
        with self.entered():
            found = tcp_sockets("/proc/thread-self")
        return {port for state, port in found if state == TCP_LISTEN}

    def wait_listening(self, program: Program, *ports: int) -> None:
        """Return when `program` serves the ports; NamespaceError if it ends or takes 20 seconds."""
        deadline = time.monotonic() + 20
        while not set(ports) <= self.listening():
            code = program.process.poll()
            if code is not None or time.monotonic() > deadline:
                what = "does not listen" if code is None else f"ended with {code}"
                raise NamespaceError(f"{self.name}: {program.name} {what}: {program.last_words()}")
            time.sleep(0.02)


def tcp_sockets(process: str) -> list[tuple[int, int]]:
    """(state, local port) of every TCP socket in the network namespace of `/proc/ID`; proc(5)."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"{process}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            found.append((int(columns[3], 16), int(columns[1].rsplit(":", 1)[1], 16)))
    return found


class World:
    """What the first process sees: `host` is its own network namespace, `pid` its id outside."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.directory = directory
        self.pid = pid
        self.host = Space("host", _NAMED / "host", directory)

    def space(self, name: str) -> Space:
        """A further network namespace with its loopback up."""
        with _staying():
            kernel.unshare(kernel.CLONE_NEWNET)
            return _named(name, self.directory)

    def named(self, name: str) -> Space:
        """A network namespace of the world that somebody else has made and named."""
        return Space(name, _NAMED / name, self.directory)


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _staying() -> Iterator[None]:
    """Bring the calling thread back to its network namespace, whatever happens."""
    with _opened(_OWN) as back:
        try:
            yield
        finally:
            kernel.setns(back, kernel.CLONE_NEWNET)


def _named(name: str, directory: Path) -> Space:
    """Name the thread's network namespace, and make it ready for use.

    Loopback is up, wires can be used at once, and low ports are for servers that run plain, too.
    """
    space = Space(name, _NAMED / name, directory)
    space.path.touch()
    kernel.mount(_OWN, space.path, None, kernel.MS_BIND)
    with space.netlink() as netlink:
        netlink.link("set", index=1, state="up")
    for scope in ("all", "default"):
        space.sysctl(f"ipv6.conf.{scope}.accept_dad", 0)
        space.sysctl(f"ipv6.conf.{scope}.router_solicitations", 0)
    space.sysctl("ipv4.ip_unprivileged_port_start", 0)
    return space


def why_not() -> str | None:
    """None if this user can make a world here, otherwise the reason in one clause."""
    for program in ("nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"the program {program} is not installed (Debian: apt-get install util-linux)"
    try:
        code = run_world(lambda world: 0, Path("/"))
    except NamespaceError as error:
        return str(error)
    return None if code == 0 else f"a process in namespaces of its own ended with {code}"


# --- How the world begins ------------------------------------------------------------------------


def run_world(main: Callable[[World], int], directory: Path) -> int:
    """Run `main` as the first process of a new world; its exit code, or minus a signal.

    `directory` is for the files of the world's programs. Call it from the main thread: the world
    ends with the thread that made it. SIGINT, SIGTERM and SIGHUP are the first process's to answer:
    the first comes from the terminal, the others from here, as SIGTERM. NamespaceError where the
    kernel refuses.
    """
    reading, writing = os.pipe()
    mapped, go = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(reading)
        os.close(go)
        _keep(main, directory, writing, mapped)
    os.close(writing)
    os.close(mapped)
    with os.fdopen(reading, "rb") as told, os.fdopen(go, "wb") as start, _passing_on(keeper):
        # The keeper says that it stands in its namespaces, or why it does not; nobody inside could
        # write the map of more than one id.
        trouble = told.readline().decode()
        if trouble == "unshared\n":
            try:
                _write_maps(keeper)
                start.write(b"\n")
                start.flush()
                trouble = told.read().decode()
            except OSError as error:
                trouble = f"the kernel refuses the map of user ids ({error.strerror})"
                start.close()
        code = os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])
    if trouble:
        raise NamespaceError(trouble)
    return code


@contextlib.contextmanager
def _passing_on(keeper: int) -> Iterator[None]:
    """Leave Ctrl-C to the world; SIGTERM, and the end of the terminal, reach it as SIGTERM."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _hand_over_to(keeper)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hand_over_to(child: int) -> None:
    def hand_over(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_over)


def _write_maps(pid: int) -> None:
    """Root keeps every id that it has, so that it also keeps its rights over files; others one."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        for name in ("uid_map", "gid_map"):
            lines = [line.split() for line in Path(f"/proc/self/{name}").read_text().splitlines()]
            text = "".join(f"{inside} {inside} {count}\n" for inside, _, count in lines)
            Path(f"/proc/{pid}/{name}").write_text(text)
        return
    Path(f"/proc/{pid}/setgroups").write_text("deny")
    Path(f"/proc/{pid}/uid_map").write_text(f"0 {uid} 1\n")
    Path(f"/proc/{pid}/gid_map").write_text(f"0 {gid} 1\n")


def _keep(main: Callable[[World], int], directory: Path, say: int, mapped: int) -> NoReturn:
    """The keeper: make the namespaces, start the first process, end with it."""
    maker = os.getppid()
    code = 70
    try:
        try:
            kernel.unshare(_NEW)
        except OSError as error:
            text = f"the kernel refuses namespaces to this user ({error.strerror}){_remedy()}"
            os.write(say, text.encode())
            os._exit(code)
        os.write(say, b"unshared\n")
        if os.read(mapped, 1):
            kernel.die_with_parent()
            first = 0 if os.getppid() != maker else os.fork()
            if first == 0:
                _begin(main, directory, say)
            os.close(say)
            code = _wait_for(first)
    finally:
        os._exit(code & 0xFF)


def _remedy() -> str:
    """What root may do about a refusal, as far as the kernel shows it."""
    for name, forbids, allows in _SWITCHES:
        path = Path("/proc/sys", *name.split("."))
        with contextlib.suppress(OSError):
            if path.read_text().strip() == forbids:
                return f"; root may allow it with: sysctl {name}={allows}"
    return ""


def _wait_for(first: int) -> int:
    _hand_over_to(first)
    code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    return code if code >= 0 else 128 - code


def _begin(main: Callable[[World], int], directory: Path, say: int) -> NoReturn:
    """The first process: furnish the world, then run `main` in it."""
    code = 70
    try:
        kernel.die_with_parent()
        try:
            world = World(directory, _furnish())
        except OSError as error:
            name = f" of {error.filename}" if error.filename else ""
            text = f"the kernel refuses what a namespace needs (mount{name}: {error.strerror})"
            os.write(say, f"{text}{_remedy()}".encode())
            os._exit(code)
        os.close(say)
        code = main(world)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _furnish() -> int:
    """Mount what is to be of the world's own; the process id that this process has outside."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    # While /proc is still that of outside.
    pid = int(Path("/proc/self").readlink().name)
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", quiet)
    kernel.mount("sysfs", "/sys", "sysfs", quiet)
    # Servers want directories in /run; the machine's own stays as it is.
    kernel.mount("tmpfs", "/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
    _NAMED.mkdir()
    _named("host", Path("/"))
    return pid
