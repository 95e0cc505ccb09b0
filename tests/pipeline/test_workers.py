"""The parent of workers: begins them, begins them again, ends with all of them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from pipeline import workers
from pipeline.control import Client
from pipeline.errors import RunError
from pipeline.status import ask
from reassembly.redis_flows import Site, put
from tests.support.programs import Program, free_port, until
from tests.support.redis_load import event, push, sequences
from tests.test_monitoring import wanted_of_workers

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


def asked(place: Path) -> dict[str, Any]:
    """What the parent says of all of them, as soon as it can be asked."""
    answers: list[dict[str, Any]] = []

    def answered() -> bool:
        with suppress(RunError):
            answers.append(ask(place / "state" / "workers.sock"))
        return bool(answers)

    until(answered, "an answer")
    return answers[0]


def metrics(port: int) -> dict[str, float]:
    """Every sample by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def total(samples: dict[str, float], name: str) -> float:
    """Of all workers together."""
    return sum(value for key, value in samples.items() if key.startswith(f"peeltap_{name}{{"))


@pytest.mark.tool("redis-server")
def test_one_that_dies_is_begun_again_and_all_is_told_and_all_end_together(
    tmp_path: Path, server: Program, port: int
) -> None:
    load = list(sequences(40, 2000))
    put(link(port), Site(), list({one.id: one for one, _ in load}.values()), "")
    path, listen = write_config(tmp_path, port), free_port()
    with path.open("a") as more:
        more.write(f"metrics: {{listen: '127.0.0.1:{listen}'}}\n")
    with pool(path, 2) as parent:
        until(lambda: held(port) == 2, "both")
        # 1. One is killed; it is begun again, counted, and what it has to do goes on.
        first = children(parent.pid)
        assert len(first) == 2
        subprocess.run(["kill", "-9", str(first[0])], check=True)
        until(lambda: len(set(children(parent.pid)) - set(first)) == 1, "another")
        push(port, [event(one, sequence) for one, sequence in load])
        until(lambda: len(ids(tmp_path, 1, 2)) == 2000, "all events", rest=0.1)
        until(lambda: not waiting(redis.Redis("127.0.0.1", port)), "the last commit")

        def is_told() -> bool:
            status = asked(tmp_path)
            group, events = status["group"], status["events"]
            # A machine that stood still for longer than a lease may have had some twice.
            return (
                all(one["up"] for one in status["workers"])
                and group["held"] == group["partitions"] == 4
                and group["waiting"] == group["pending"] == 0
                and events["source"]["events"] >= 2000
                and set(events["enricher"]["outcomes"]) == {"time"}
            )

        until(is_told, "the last report", rest=0.1)
        status = asked(tmp_path)
        assert sum(one["restarts"] for one in status["workers"]) == 1
        assert [one for one in status["complaints"] if "was killed by SIGKILL" in one]

        # 2. The same for Prometheus.
        def is_exposed() -> bool:
            samples = metrics(listen)
            return (
                total(samples, "worker_up") == total(samples, "events_source_up") == 2
                and total(samples, "worker_restarts_total") == 1
                and total(samples, "events_total") >= 2000
                and total(samples, "sink_lines_total") >= 2000
                and samples.get("peeltap_group_waiting") == 0
                and samples.get("peeltap_group_pending") == 0
            )

        until(is_exposed, "the metrics", rest=0.1)
        assert wanted_of_workers() <= {name.partition("{")[0] for name in metrics(listen)}
        # 3. Redis does not answer, and does again.
        server.kill()
        until(lambda: total(metrics(listen), "events_source_up") == 0, "the trouble", rest=0.1)
        assert "see whether it runs" in asked(tmp_path)["events"]["trouble"]
        assert "peeltap_group_waiting" not in metrics(listen)
        server.start()
        until(lambda: total(metrics(listen), "events_source_up") == 2, "its end", rest=0.1)
        # 4. A second parent of the same state is refused; the first one ends when it is told so.
        with pytest.raises(RunError, match="another peeltap answers there; stop it, or give each"):
            workers.run(str(path), 1)
        parent.send_signal(signal.SIGHUP)
        with Client(tmp_path / "state" / "workers.sock") as client:
            client.ask("stop")
        assert parent.wait(60) == 0
    # In order: nobody has to wait for a lease to run out.
    assert held(port) == 0


@pytest.mark.tool("redis-server")
@pytest.mark.usefixtures("server")
def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path, port: int) -> None:
    with pool(write_config(tmp_path, port), 1) as parent:
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


def test_an_address_that_is_taken_is_told_before_any_worker_is_begun(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = write_config(tmp_path, 1)
        with path.open("a") as more:
            more.write(f"metrics: {{listen: '127.0.0.1:1', workers: '{address}'}}\n")
        with pytest.raises(RunError, match=f"{address} cannot be listened on .* metrics.workers"):
            workers.run(str(path), 1)
    assert not (tmp_path / "state" / "workers.sock").exists()


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
