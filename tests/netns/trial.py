"""What every fault is followed by: the service lives, its sums hold, no written event is lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from fixtures.netns import LabError, wait_until
from fixtures.scenarios import TRAVERSAL
from fixtures.topology import ATTACKER, DECOY
from suricata import child
from tests.netns import attacks
from tests.support.live import Peeltap, System

_PORTS = itertools.count(20_000)

Identity = tuple[Any, ...]


class Trial:
    """One service in a system, and attacks on it."""

    def __init__(self, system: System, peeltap: Peeltap) -> None:
        self.system = system
        self.peeltap = peeltap
        settings = yaml.safe_load(peeltap.config.read_text())
        # Through the host's own mounts, where some disks are small.
        root = f"/proc/{system.host.holder.pid}/root"
        self.suricata_directory = Path(f"{root}{settings['state']['directory']}/suricata")
        peeltap.events_file = Path(f"{root}{settings['sinks'][0]['file']}")

    # --- Attacks ---------------------------------------------------------------------------------

    def begin(self, count: int, pause: float = 0.0) -> Burst:
        """Attacks, one connection behind the other, while something else happens."""
        first = next(_PORTS)
        for _ in range(count - 1):
            next(_PORTS)
        argv = [sys.executable, attacks.__file__, "many", str(first), str(count), str(pause)]
        program = subprocess.Popen(
            self.system.attacker.command(argv, contained=False), stdout=subprocess.PIPE
        )
        return Burst(range(first, first + count), program)

    def burst(self, count: int) -> set[int]:
        """Attacks to their end; the ports that they came from."""
        return self.begin(count).end()

    def sees(self, count: int = 1) -> None:
        """An attack now becomes an alert that names the attacker; tried for a while.

        Suricata may just be opening its ring anew; what it misses then, nobody wrote.
        """
        tried: list[set[int]] = []

        def seen() -> bool:
            alerts = set(self.alerts())
            return any(ports <= alerts for ports in tried)

        for _ in range(30):
            tried.append(self.burst(count))
            with suppress(LabError):
                wait_until(seen, "alerts", 2.0)
                return
        raise LabError(f"no attack is seen any more\n{self.peeltap.log_text()[-6000:]}")

    @contextmanager
    def kept(self) -> Iterator[Kept]:
        """One connection that stays, to be asked over again and again."""
        port = next(_PORTS)
        argv = [sys.executable, attacks.__file__, "keep", str(port)]
        program = subprocess.Popen(
            self.system.attacker.command(argv, contained=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline().split() == [str(port), "connected"]
        try:
            yield Kept(port, program)
        finally:
            program.stdin.close()
            program.wait(60)

    # --- What came of them -----------------------------------------------------------------------

    def alerts(self) -> Counter[int]:
        """How many alerts of the traversal rule named the true attacker, by his port."""
        return Counter(
            event["src_port"]
            for event in _events(self.peeltap.events_file)
            if event["event_type"] == "alert"
            and event["alert"]["signature_id"] == TRAVERSAL
            and (event["src_ip"], event["dest_ip"]) == (ATTACKER[4], DECOY[4])
            and event["dest_port"] == 80
        )

    def all_seen(self, ports: set[int]) -> None:
        """Each of these connections became an alert."""
        self._until(lambda: ports <= set(self.alerts()), lambda: ports - set(self.alerts()))

    def nothing_lost(self, *, twice: bool = False) -> None:
        """Every event that Suricata wrote is in the sink; once, or with `twice` at least once."""
        self._until(lambda: not self.missing(), self.missing)
        if not twice:
            # Here Suricata's files are read last.
            relayed, written = self.relayed(), self.written()
            assert {one: n for one, n in relayed.items() if n > written[one]} == {}

    def missing(self) -> dict[Identity, int]:
        """What Suricata wrote and the sink has not."""
        # The sink is read last: what comes in between is in it.
        written, relayed = self.written(), self.relayed()
        return {one: n for one, n in written.items() if relayed[one] < n}

    def written(self) -> Counter[Identity]:
        """The events in Suricata's files, renamed ones too."""
        files = self.suricata_directory.glob("eve.json*")
        return Counter(_identity(event) for path in files for event in _events(path))

    def relayed(self) -> Counter[Identity]:
        """The events in the sink, renamed files too."""
        sink = self.peeltap.events_file
        files = sink.parent.glob(f"{sink.name}*")
        return Counter(_identity(event) for path in files for event in _events(path))

    def adds_up(self) -> dict[str, Any]:
        """The service is there and its sums hold; its status."""
        status = self.peeltap.status()
        assert status["service"]["state"] == "running"
        packets, capture, output = status["packets"], status["capture"], status["output"]
        merged, dropped = sum(status["merged"].values()), sum(status["dropped"].values())
        assert packets["in"] == packets["emitted"] + merged + dropped + packets["held"]
        assert capture["packets"] == packets["in"]
        assert packets["frames_out"] == output["frames"] + sum(output["dropped"].values())
        assert capture["damaged"] == 0
        return status

    def counted(self) -> int:
        """How many packets the kernel counted on br1; all were taken, or are counted as lost.

        The kernel counts a packet before its block is handed over: it is waited for.
        """
        status = self.peeltap.wait(_is_taken, "every packet taken or lost")
        received: int = status["capture"]["kernel_received"]
        return received

    def stripped(self, before: dict[str, Any], count: int) -> None:
        """Headers have been taken out of so many connections more than in an earlier status."""
        wanted = before["connections"]["stripped"] + count
        self.peeltap.wait(
            lambda status: status["connections"]["stripped"] >= wanted, f"{wanted} connections"
        )

    def log_says(self, word: str) -> bool:
        """Whether a line of the service's log has this in it."""
        return word in self.peeltap.log_text()

    def suricata_pid(self) -> int:
        """The process of Suricata, as the service tells."""
        status = self.peeltap.wait(
            lambda status: status["suricata"]["state"] == "ready", "Suricata ready"
        )
        pid: int = status["suricata"]["pid"]
        return pid

    def _until(self, condition: Any, what: Any) -> None:
        try:
            wait_until(condition, "events", 90.0)
        except LabError:
            raise LabError(f"{what()}\n{self.peeltap.log_text()[-6000:]}") from None


def _is_taken(status: dict[str, Any]) -> bool:
    capture = status["capture"]
    taken: int = capture["packets"] + capture["kernel_drops"]
    return taken == capture["kernel_received"]


class Burst:
    """Attacks that go on."""

    def __init__(self, ports: range, program: subprocess.Popen[bytes]) -> None:
        self.ports = set(ports)
        self._program = program

    def answered(self, count: int) -> None:
        """Returns when so many attacks more have been answered."""
        assert self._program.stdout is not None
        for _ in range(count):
            assert self._program.stdout.readline()

    def end(self) -> set[int]:
        """Wait for the last; the ports."""
        said, _ = self._program.communicate(timeout=180)
        assert self._program.returncode == 0, said
        return self.ports


class Kept:
    """A connection that stays."""

    def __init__(self, port: int, program: subprocess.Popen[str]) -> None:
        self.port = port
        self._program = program

    def ask(self) -> None:
        """One attack more over it."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write("\n")
        self._program.stdin.flush()
        assert self._program.stdout.readline().split()[:1] == [str(self.port)]


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        # Renamed between the listing and the look.
        return
    for line in text.split(b"\n")[:-1]:
        if line.strip() and b'"event_type":"stats"' not in line:
            # Where a disk was full a line may have no end; of such a one no event can be told.
            with suppress(json.JSONDecodeError, UnicodeDecodeError):
                yield json.loads(line)


def _identity(event: dict[str, Any]) -> Identity:
    """What tells an event from all others, before and after its correction."""
    signature = event.get("alert", {}).get("signature_id")
    return (
        event["timestamp"],
        event["event_type"],
        event.get("flow_id"),
        event.get("tx_id"),
        signature,
    )


def sweep(state: Path) -> None:
    """End a Suricata that a killed service left."""
    for found, _ in child.find(state / "suricata" / "suricata.yaml"):
        found.signal(signal.SIGKILL)
        found.wait(60)
        found.close()


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process of the trial."""
    os.kill(pid, number)


def stand_still(pid: int) -> None:
    """Stop a process; returns when none of its threads does anything any more."""

    def stopped() -> bool:
        states = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(state.rpartition(")")[2].split()[0] == "T" for state in states)

    os.kill(pid, signal.SIGSTOP)
    wait_until(stopped, f"process {pid} to stand still")
