"""A process of our own and one that was found: its end, its signals, who is it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suricata import child

from .tapped import until


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[child.Child]:
    found = child.spawn(["sleep", "600"], tmp_path, tmp_path / "stderr")
    yield found
    found.signal(signal.SIGKILL)
    found.wait(60)


# what it does | how that is told
ENDS = [
    ("exit 0", "ended with exit code 0"),
    ("exit 3", "ended with exit code 3"),
    ("kill -TERM $$", "was killed by SIGTERM"),
    ("kill -KILL $$", "was killed by SIGKILL, as the kernel does when memory runs out"),
    ("kill -RTMIN $$", "was killed by SIGRTMIN"),
]


@pytest.mark.parametrize(("does", "told"), ENDS, ids=[row[0] for row in ENDS])
def test_how_it_ended(tmp_path: Path, does: str, told: str) -> None:
    found = child.spawn(["bash", "-c", does], tmp_path, tmp_path / "stderr")
    assert found.wait(60)
    assert found.ended() == told
    found.signal(signal.SIGTERM)
    found.close()


def test_what_it_inherits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("KEPT", "yes")
    script = "echo $NOTIFY_SOCKET $KEPT >&2; pwd >&2; umask >&2; ps -o sid= -p $$ >&2; echo $$ >&2"
    found = child.spawn(["bash", "-c", script], tmp_path, tmp_path / "stderr")
    assert found.wait(60)
    found.close()
    kept, directory, umask, session, own = (tmp_path / "stderr").read_text().split()
    assert (kept, directory, umask) == ("yes", str(tmp_path), "0027")
    assert session == own


def test_stopped_in_order(sleeper: child.Child) -> None:
    assert sleeper.ended() is None
    assert not sleeper.wait(0.05)
    assert sleeper.stop(10)
    assert sleeper.ended() == "was killed by SIGTERM"


def test_it_hears_signals_that_wait_in_the_thread_that_began_it(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        found = child.spawn(["sleep", "600"], tmp_path, tmp_path / "stderr")
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert found.stop(10)
    assert found.ended() == "was killed by SIGTERM"
    found.close()


def test_killed_when_it_does_not_hear(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    deaf += "; time.sleep(600)"
    ready = tmp_path / "ready"
    script = f"exec {sys.executable} -c '{deaf}' > {ready}"
    found = child.spawn(["bash", "-c", script], tmp_path, tmp_path / "stderr")
    until(lambda: ready.exists() and ready.read_text(), "it to go deaf")
    assert not found.stop(0.1)
    assert found.ended() is not None
    found.close()


def marked(tmp_path: Path, config: Path, digest: str) -> subprocess.Popen[bytes]:
    """A process with the command line of a Suricata of ours."""
    words = ["-c", str(config), "--set", f"{child.MARK}{digest}"]
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *words])


def test_found_by_its_configuration(tmp_path: Path) -> None:
    mine, other = tmp_path / "suricata.yaml", tmp_path / "other.yaml"
    begun = [marked(tmp_path, mine, "aa"), marked(tmp_path, other, "bb")]
    try:
        found = list(child.find(mine))
        assert [(one.pid, digest) for one, digest in found] == [(begun[0].pid, "aa")]
        [(one, _)] = found
        assert one.adopted
        assert one.ended() is None
        one.signal(signal.SIGKILL)
        assert one.wait(60)
        assert one.ended() == "ended"
        one.close()
        begun[0].wait()
        assert list(child.find(mine)) == []
    finally:
        for process in begun:
            process.kill()
            process.wait()


def test_nobody_else_is_taken_for_it(tmp_path: Path) -> None:
    """Of another PID namespace's /proc a number is somebody else's; here, of a made-up one's."""
    config = tmp_path / "suricata.yaml"
    line = b"\0".join(
        [b"suricata", b"-c", os.fsencode(config), b"--set", b"peeltap.digest=aa", b""]
    )
    for name in (str(os.getppid()), "999999999", "self", "1x"):
        (tmp_path / "proc" / name).mkdir(parents=True)
        (tmp_path / "proc" / name / "cmdline").write_bytes(line)
        (tmp_path / "proc" / name / "status").write_text("Name:\tsuricata\nUid:\t0\t0\t0\t0\n")
    found = [one.pid for one, _ in child.find(config, tmp_path / "proc")]
    assert found == [os.getppid()], "a number that is nobody's is passed over"


@pytest.mark.parametrize(
    ("status", "count"),
    [
        (f"Uid:\t{os.geteuid()}\t0\t0\t0\n", 1),
        ("Uid:\t54321\t0\t0\t0\n", 0),
        ("Uid:\t\n", 0),
        ("", 0),
    ],
)
def test_a_command_line_of_another_user_counts_for_nothing(
    tmp_path: Path, status: str, count: int
) -> None:
    config, entry = tmp_path / "suricata.yaml", tmp_path / "proc" / str(os.getppid())
    entry.mkdir(parents=True)
    words = [b"x", b"-c", os.fsencode(config), b"--set", b"peeltap.digest=aa", b""]
    (entry / "cmdline").write_bytes(b"\0".join(words))
    (entry / "status").write_text(status)
    found = list(child.find(config, tmp_path / "proc"))
    assert len(found) == count
    for one, _ in found:
        one.close()
    # Nor does it matter whether the directory is there.
    assert list(child.find(tmp_path / "absent" / "suricata.yaml", tmp_path / "proc")) == []


def test_one_that_is_let_go_lives_on(sleeper: child.Child, tmp_path: Path) -> None:
    other = child.spawn(["sleep", "600"], tmp_path, tmp_path / "stderr")
    pid = other.pid
    other.close()
    time.sleep(0.01)
    os.kill(pid, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        child.spawn([str(tmp_path / "none")], tmp_path, tmp_path / "stderr")
