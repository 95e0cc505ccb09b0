"""Worlds of namespaces, made by whoever runs the tests and by an ordinary user.

Each world below is a function; ``python -m tests.diversion.test_namespaces NAME`` lives in it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diversion.namespaces import NamespaceError, World, run_world, why_not
from tests.support import ordinary
from tests.support.wired import wired

pytestmark = pytest.mark.netns

Live = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture(params=["as we are", "as an ordinary user"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """Starts a world by its name; standard output is a pipe."""
    started = []

    def start(name: str) -> subprocess.Popen[str]:
        # Whoever was started by nohup ignores the signal, and so would all its children.
        argv = ["env", "--default-signal=HUP", sys.executable, "-m", __name__, name]
        if request.param == "as an ordinary user":
            argv = ordinary.command(argv)
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, cwd=ordinary.ROOT)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and what was printed; a world that failed shows why."""
    out, err = process.communicate(timeout=180)
    assert err == ""
    return process.returncode, out


def processes_in(namespace: str) -> list[int]:
    """The processes whose network namespace is the one named (as /proc/PID/ns/net links)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns/net").readlink()) == namespace:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def nobody_is_left_in(namespace: str) -> None:
    """Returns when the kernel has killed the last."""
    deadline = time.monotonic() + 60
    while processes_in(namespace):
        assert time.monotonic() < deadline, f"processes are left in {namespace}"
        time.sleep(0.05)


# --- Who one is in a world -----------------------------------------------------------------------


def who(world: World) -> int:
    machine = world.space("machine")
    for argv, plain in ((["id", "-u"], False), (["id", "-u"], True)):
        print(subprocess.check_output(machine.command(argv, plain=plain), text=True).strip())
    refused = subprocess.run(
        machine.command(["ip", "link", "add", "d0", "type", "dummy"], plain=True),
        capture_output=True,
    )
    print("refused" if refused.returncode else "allowed")
    return 3


def test_root_of_the_world_and_a_plain_nobody(live: Live) -> None:
    assert finished(live("who")) == (3, "0\n65534\nrefused\n")


# --- Machines ------------------------------------------------------------------------------------


def machines(world: World) -> int:
    spaces = wired(world)
    one, other = spaces["one"], spaces["other"]
    for space, address, caller in (
        (other, "172.16.23.3", one),
        (other, "2001:db8::3", one),
        (world.host, "172.16.23.1", one),
        (one, "172.16.23.2", world.host),
    ):
        log = f"{address.replace(':', '-')}.log"
        server = space.spawn(["nc", "-l", address, "80"], log=log, plain=True)
        space.wait_listening(server, 80)
        said = ["nc", "-N", "-w", "60", address, "80"]
        subprocess.run(caller.command(said), input=b"hello", check=True, timeout=60)
        assert server.process.wait(60) == 0
        print(address, server.last_words())
    return 0


def test_machines_reach_one_another(live: Live) -> None:
    code, out = finished(live("machines"))
    assert code == 0
    assert out.splitlines() == [
        "172.16.23.3 hello",
        "2001:db8::3 hello",
        "172.16.23.1 hello",
        "172.16.23.2 hello",
    ]


def seen(world: World) -> int:
    world.space("machine")
    subprocess.run(["ip", "link", "add", "br1", "type", "bridge"], check=True)
    print(sorted(path.name for path in Path("/sys/class/net").iterdir()))
    print(sorted(path.name for path in Path("/run").iterdir()))
    print(sorted(path.name for path in Path("/run/netns").iterdir()))
    with world.space("other").entered():
        print(Path("/proc/thread-self/net/dev").read_text().count("br1"))
    return 0


def test_a_world_sees_its_own_interfaces_and_the_machine_none_of_them(live: Live) -> None:
    before = sorted(Path("/sys/class/net").iterdir())
    code, out = finished(live("seen"))
    assert code == 0
    assert out.splitlines() == ["['br1', 'lo']", "['netns']", "['host', 'machine']", "0"]
    assert sorted(Path("/sys/class/net").iterdir()) == before


def trouble(world: World) -> int:
    machine = world.space("machine")
    for argv in (["sh", "-c", "echo no such file >&2; exit 4"], ["sh", "-c", "exit 5"]):
        try:
            machine.wait_listening(machine.spawn(argv, log=f"{argv[-1][-1]}.log"), 80)
        except NamespaceError as error:
            print(error)
    raise RuntimeError("told")


def test_trouble_is_told(live: Live) -> None:
    process = live("trouble")
    out, err = process.communicate(timeout=180)
    assert out.splitlines() == [
        "machine: sh ended with 4: no such file",
        "machine: sh ended with 5: it said nothing",
    ]
    assert err.endswith("RuntimeError: told\n")
    assert process.returncode == 70


# --- The end -------------------------------------------------------------------------------------


def waiting(world: World) -> int:
    def stop(number: int, frame: object) -> None:
        print("stopped", flush=True)
        os._exit(9)

    signal.signal(signal.SIGTERM, stop)
    machine = world.space("machine")
    machine.spawn(["sleep", "600"], log="sleep.log", plain=True)
    with machine.entered():
        there = Path("/proc/thread-self/ns/net").readlink()
    print(Path("/proc/self/ns/net").readlink(), there, flush=True)
    while True:
        signal.pause()


def test_nothing_stays_when_the_maker_is_killed(live: Live) -> None:
    process = live("waiting")
    assert process.stdout is not None
    host, machine = process.stdout.readline().split()
    assert processes_in(host)
    assert processes_in(machine)
    process.kill()
    process.wait()
    nobody_is_left_in(host)
    nobody_is_left_in(machine)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_the_end_is_handed_over(live: Live, number: signal.Signals) -> None:
    process = live("waiting")
    assert process.stdout is not None
    host, machine = process.stdout.readline().split()
    process.send_signal(number)
    assert finished(process) == (9, "stopped\n")
    nobody_is_left_in(host)
    nobody_is_left_in(machine)


# --- Where it is forbidden -----------------------------------------------------------------------


def forbidding(world: World) -> int:
    """A world in which nobody makes another."""
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    print(why_not())
    return 0


def test_a_kernel_that_forbids_is_told_with_the_remedy(live: Live) -> None:
    code, out = finished(live("forbidding"))
    assert code == 0
    assert out == (
        "the kernel refuses namespaces to this user (No space left on device)"
        "; root may allow it with: sysctl user.max_user_namespaces=10000\n"
    )


def test_here_it_is_allowed() -> None:
    asks = "from diversion.namespaces import why_not; print(why_not())"
    argv = ordinary.command([sys.executable, "-c", asks])
    said = subprocess.check_output(argv, text=True, cwd=ordinary.ROOT)
    assert said == "None\n", f"this machine lets no ordinary user make namespaces: {said}"
    assert why_not() is None


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(run_world(globals()[sys.argv[1]], Path(place)))
