"""The parent of workers: begins them, begins them again, ends with all of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from reassembly.redis_flows import Site, put
from tests.support.programs import free_port, redis_server, until
from tests.support.redis_load import event, push, sequences

from .test_worker import ROOT, held, ids, link, waiting, write_config


@contextmanager
def pool(path: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "pipeline", "enrich", "-c", str(path), "--workers", str(count)]
    with (path.parent / "workers.log").open("wb") as log:
        parent = subprocess.Popen(argv, stderr=log, cwd=ROOT)
    try:
        yield parent
    finally:
        parent.kill()
        parent.wait()


def children(parent: int) -> list[int]:
    task = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(one) for one in task.read_text().split()] if task.exists() else []


@pytest.mark.tool("redis-server")
def test_one_that_dies_is_begun_again_and_all_end_together(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port):
        load = list(sequences(40, 2000))
        put(link(port), Site(), list({one.id: one for one, _ in load}.values()), "")
        with pool(write_config(tmp_path, port), 2) as parent:
            until(lambda: held(port) == 2, "both")
            first = children(parent.pid)
            assert len(first) == 2
            subprocess.run(["kill", "-9", str(first[0])], check=True)
            until(lambda: len(set(children(parent.pid)) - set(first)) == 1, "another")
            push(port, [event(one, sequence) for one, sequence in load])
            until(lambda: len(ids(tmp_path, 1, 2)) == 2000, "all events")
            until(lambda: not waiting(redis.Redis("127.0.0.1", port)), "the last commit")
            parent.send_signal(signal.SIGHUP)
            parent.terminate()
            assert parent.wait(60) == 0
        assert b"a worker has ended and is begun again" in (tmp_path / "workers.log").read_bytes()
        # In order: nobody has to wait for a lease to run out.
        assert held(port) == 0


@pytest.mark.tool("redis-server")
def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port), pool(write_config(tmp_path, port), 1) as parent:
        until(lambda: held(port) == 1, "the worker")
        [child] = children(parent.pid)
        parent.kill()
        parent.wait()
        until(lambda: not Path(f"/proc/{child}/fd").exists() or _is_gone(child), "its end")


def _is_gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


WRONG = {
    "no configuration": (["--workers", "2"], "--config is needed"),
    "two of a kind": (["-c", "x.yaml", "--flows", "f"], "leave out --flows"),
    "no such file": (["-c", "/no/such.yaml"], "/no/such.yaml: cannot be read"),
    "too many": (["-c", "x", "--workers", "1000"], "1000 is not from 1 to 256"),
    "nothing": ([], "--flows is needed, or --config and --workers"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline import cli

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main(["enrich", *arguments])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert ended.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())
