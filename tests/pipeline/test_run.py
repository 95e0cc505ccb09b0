"""`peeltap run` as far as it gets without a network of its own; tests/netns has the rest."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import run as running
from pipeline.errors import ConfigError, RunError
from pipeline.logs import Logs
from pipeline.notify import Notifier, Pulse
from pipeline.page.server import PageError
from pipeline.page.watch import Watch
from pipeline.run import Service, check
from pipeline.service_settings import Control
from pipeline.status_report import Reporter
from suricata.enrichment.settings import EnrichmentSettings
from tests.pipeline.conftest import ARGV, Run
from tests.pipeline.page.parts import settings as page_settings

LIVE = (
    "gateways: [{from: 172.16.23.1, to: 172.16.23.2, headers: [proxy-v2]}]\n"
    "capture: {interface: br1}\n"
)


def written(directory: Path, text: str) -> str:
    path = directory / "peeltap.yaml"
    path.write_text(text)
    return str(path)


MISTAKES = {
    "a filter that is none": (
        LIVE.replace("br1}", "br1, filter: tcp prot 80}"),
        "capture.filter: 'tcp prot 80': can't parse filter expression: syntax error",
    ),
    "rules that are not there": (
        LIVE + "suricata: {rules: [absent.rules]}\n",
        "absent.rules cannot be read: No such file or directory",
    ),
    "a Suricata that is not there": (
        LIVE + "suricata: {binary: no-suricata}\n",
        "there is no program 'no-suricata'",
    ),
    "a page whose token is not there": (
        LIVE + "page: {token: {file: absent}}\n",
        "absent cannot be read (No such file or directory): it should hold a secret",
    ),
    "a user who is not there": (
        LIVE + "suricata: external\nrun_as: no-such-user\n",
        "run_as: there is no user 'no-such-user'",
    ),
}


@pytest.mark.suricata
@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_a_configuration_names_is_looked_at(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        check(written(tmp_path, text))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_mistakes_in_the_file_come_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        check(written(tmp_path, "capture: {}\n"))


def test_a_right_file_is_said_to_be_right(peeltap: Run, tmp_path: Path) -> None:
    path = written(tmp_path, LIVE + "suricata: external\n")
    said = peeltap("run", "--config", path, "--check")
    assert (said.code, said.out, said.err) == (0, f"{path} is right\n", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["peeltap.yaml"]


def test_a_wrong_file_is_exit_code_2(peeltap: Run, tmp_path: Path) -> None:
    path = written(tmp_path, "gateways: []\n")
    said = peeltap("run", "--config", path)
    assert said.code == 2
    assert said.err.splitlines()[0] == (
        f"{path}:1: capture: missing; name the interface that carries the proxied legs: "
        "capture: {interface: br1}"
    )


@pytest.mark.netns
def test_an_ordinary_user_is_told_what_it_needs(tmp_path: Path) -> None:
    path = written(tmp_path, LIVE + "suricata: external\n")
    tmp_path.chmod(0o755)
    # Root without its capabilities is as powerless as anybody, and can read this checkout.
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", *ARGV, "run", "--config", path],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("peeltap: CAP_NET_ADMIN and CAP_NET_RAW needed to capture")
    assert "Traceback" not in done.stderr


class House:
    """A service of parts that do nothing but note what is asked of them, and its log."""

    interface = "br9"
    workers: tuple[()] = ()

    def __init__(self, directory: Path, on: dict[str, Callable[[], Any]] | None = None) -> None:
        self.asked: list[str] = []
        self._on = on or {}
        self.ended_threads: list[str] = []
        self.whole = SimpleNamespace(
            control=Control(socket=directory / "c.sock"), metrics=None, page=None
        )
        self.outlet = SimpleNamespace(name="vtap0", check=self._part("check", []))
        self.suricata = SimpleNamespace(
            start=self._part("suricata starts"),
            reload_rules=self._part("reload"),
            stop=self._part("suricata stops"),
        )
        self.relay = SimpleNamespace(
            start=self._part("relay starts"),
            reopen=self._part("reopen"),
            stop=self._part("relay stops"),
            status=lambda: {"beat": 1e12},
        )
        self.watch: Watch | None = None
        self.publisher = None
        self.stream = io.StringIO()

    def _part(self, name: str, answer: Any = None) -> Callable[..., Any]:
        def part(*arguments: Any) -> Any:
            self.asked.append(name)
            if name in self._on:
                self._on[name]()
            return answer

        return part

    def ended(self) -> list[str]:
        return self.ended_threads

    def close(self, *, clean: bool) -> None:
        self.asked.append("closed in order" if clean else "closed")

    def run(self) -> int:
        """Be the service until a part has it stop; the exit code."""
        logs = Logs(stream=self.stream)
        reporter = Reporter(
            config="c.yaml",
            mode="strip",
            interface="br9",
            workers=[],
            outlet=SimpleNamespace(status=lambda: {"name": "vtap0"}),
            parts={},
        )
        opened: Any = self
        try:
            service = Service(opened, reporter, logs, Notifier(None), Pulse(), threading.Event())
            return service.run()
        finally:
            logs.close()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TICK_SECONDS", "RELOAD_SECONDS", "CHECK_SECONDS", "SURICATA_TAKES_SECONDS"):
        monkeypatch.setattr(running, name, 0.01)


def hang_up() -> None:
    signal.raise_signal(signal.SIGHUP)


@pytest.mark.usefixtures("_impatient")
def test_a_hangup_while_sinks_are_opened_anew_counts(tmp_path: Path) -> None:
    asked = iter([hang_up, lambda: signal.raise_signal(signal.SIGTERM)])
    house = House(tmp_path, {"reopen": lambda: next(asked)(), "relay starts": hang_up})
    assert house.run() == 0
    assert house.asked.count("reopen") == 2
    assert house.asked.count("reload") == 2
    assert house.asked[-3:] == ["suricata stops", "relay stops", "closed in order"]


@pytest.mark.usefixtures("_impatient")
def test_signals_that_came_before_the_service_could_heed_them_are_heeded(tmp_path: Path) -> None:
    both = {signal.SIGHUP, signal.SIGTERM}
    house = House(tmp_path)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, both)
    try:
        # To this thread, which alone has them wait here; `peeltap run` begins with no other.
        signal.raise_signal(signal.SIGTERM)
        assert house.run() == 0
        assert not signal.sigpending() & both
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert house.asked[-1] == "closed in order"


def test_a_hangup_during_the_start_does_not_end_the_program() -> None:
    script = (
        "import os, signal, argparse\n"
        "from pipeline import commands, run\n"
        "run.run = lambda path: os.kill(os.getpid(), signal.SIGHUP) or 7\n"
        "raise SystemExit(commands.run(argparse.Namespace(check=False, config='c.yaml')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 7


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("at", ["relay starts", "check"])
def test_a_fault_in_the_main_thread_ends_all_of_it(tmp_path: Path, at: str) -> None:
    def fault() -> None:
        raise RuntimeError("a fault")

    house = House(tmp_path, {at: fault})
    assert house.run() == 1
    assert house.asked[-3:] == ["suricata stops", "relay stops", "closed"]
    [failed] = [line for line in house.log() if line["level"] == "error"]
    assert failed["event"] == "the main thread has failed; the service ends"
    assert "RuntimeError: a fault" in failed["exception"]
    assert not (tmp_path / "c.sock").exists()


@pytest.mark.usefixtures("_impatient")
def test_a_page_is_served_from_the_start_to_the_end(tmp_path: Path) -> None:
    asked = page_settings(tmp_path)
    seen: list[int] = []

    def look() -> None:
        with urllib.request.urlopen(f"http://{asked.listen}/login", timeout=60) as answer:
            seen.append(answer.status)
        signal.raise_signal(signal.SIGTERM)

    house = House(tmp_path, {"check": look})
    house.whole.page, house.whole.enrichment = asked, EnrichmentSettings()
    house.watch = Watch()
    assert (house.run(), seen) == (0, [200])
    with pytest.raises(urllib.error.URLError):
        look()


def test_a_page_that_cannot_be_served_leaves_nothing_behind(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.whole.page, house.whole.enrichment = page_settings(tmp_path), EnrichmentSettings()
    house.watch = Watch()
    (tmp_path / "token").unlink()
    with pytest.raises(PageError):
        house.run()
    assert not (tmp_path / "c.sock").exists()


@pytest.mark.usefixtures("_impatient")
def test_a_writer_that_has_ended_ends_the_service(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.ended_threads.append("flow-records")
    assert house.run() == 1
    said = [line["event"] for line in house.log()]
    assert "flow-records has ended; the service ends" in said
