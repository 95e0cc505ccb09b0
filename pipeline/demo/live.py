"""`peeltap demo`, live: the whole system in namespaces of its own, from its beginning to its end.

    the command ──> a world (diversion.namespaces) ──> the show, as the world's first process
                                                         build, start, play, wait, judge, end

The show runs as an ordinary user or as root; nothing of it is seen outside of its namespaces but
files in one directory, and nothing of it outlives the command.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

import orjson
from rich.console import Console

from diversion import namespaces
from diversion.namespaces import NamespaceError, Program, World
from pipeline.demo import network as machines
from pipeline.demo import programs, screen
from pipeline.demo.attacks import STEPS, play
from pipeline.demo.counters import Counters, Voice
from pipeline.demo.offline import FIXTURES
from pipeline.demo.verdict import Verdict, judge
from pipeline.errors import PeeltapError, RunError
from pipeline.replay import interrupts
from suricata import process
from suricata.settings import SuricataSettings

RULES: Final = FIXTURES / "rules" / "peeltap.rules"
SECONDS: Final = 30.0
"""How long the attacks go on."""

SETTLE_SECONDS: Final = 3.0
"""How long the last events may be on their way; what Suricata keeps to its end comes then."""

HOLD_SECONDS: Final = 30.0
"""The same where no end comes soon: Suricata looks for ended conversations every eight seconds."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for; `directory` keeps the files, `pcap` is for recordings."""

    seconds: float = SECONDS
    hold: bool = False
    pcap: Path | None = None
    directory: Path | None = None
    json: bool = False


def why_not(request: Request) -> str | None:
    """None if the show can be given here, otherwise the reason in one clause."""
    lacking = programs.missing(*(["dumpcap"] if request.pcap else []))
    if lacking is not None:
        return lacking
    if not RULES.is_file():
        return f"{RULES} is not there"
    try:
        process.find()
    except process.SuricataError as error:
        return str(error)
    return namespaces.why_not()


def show(request: Request) -> int:
    """Give the show; the exit code, 0 only if every attacker was named. Raises RunError."""
    with contextlib.ExitStack() as stack:
        if request.directory is None:
            temporary = tempfile.TemporaryDirectory(prefix="peeltap-demo-")
            directory = Path(stack.enter_context(temporary))
        else:
            directory = _directory(request.directory)
        pcap = _directory(request.pcap) if request.pcap else None
        by_root = os.geteuid() == 0
        sys.stdout.flush()
        try:
            code = namespaces.run_world(
                lambda world: _Show(world, request, pcap, by_root).main(), directory.resolve()
            )
        except NamespaceError as error:
            raise RunError(f"the demo's namespaces cannot be made: {error}") from None
    if code == 130:
        raise KeyboardInterrupt
    return code


def _directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise RunError(f"{path}: is not empty; name a new directory")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    return path.resolve()


@dataclass
class _Show:
    """The show, as the first process of the world sees it."""

    world: World
    request: Request
    pcap: Path | None
    by_root: bool
    started: list[tuple[Program, signal.Signals]] = field(default_factory=list)
    """What has to end in order, and how it is asked to."""

    def main(self) -> int:
        """Give it; every error that we know of ends as one message."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with interrupts():
                return self._give()
        except KeyboardInterrupt:
            return 130
        except (NamespaceError, PeeltapError, OSError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"peeltap: the demo failed: {error}\n")
            return 1
        finally:
            sys.stdout.flush()

    def _give(self) -> int:
        stream: TextIO = sys.stderr if self.request.json else sys.stdout
        console = Console(file=stream)
        shown = screen.Screen(console)
        with self._ended_in_order():
            with shown.shown():
                counters = self._begin(shown)
                with shown.counting(counters):
                    shown.stage("attacking")
                    play(self.network, self.request.seconds, shown.playing)
                    shown.stage("waiting for the last events")
                    self._settle(counters)
                # The tap and its packets are gone when Peeltap is.
                counters.read()
                if not self.request.hold:
                    shown.stage("ending")
                    self._end()
            verdict = self._judge(counters)
            counters.read()
            if self.request.json:
                self._json(verdict, counters)
            else:
                screen.outcome(verdict, counters, self.version, console)
                for line in self._remarks():
                    console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
            if self.request.hold:
                self._hold(console)
                self._end()
        machines.take_back(self.network)
        return 0 if verdict.right else 1

    def _begin(self, shown: screen.Screen) -> Counters:
        shown.stage("making machines")
        self.network = network = machines.build(self.world)
        directory = self.world.directory
        legs = [f"{address}/32" for address in machines.VMS.values()]
        # Some of a conversation is looked at when Suricata forgets it; a minute is long for a show.
        soon = {"flow-timeouts.tcp.closed": 1, "flow-timeouts.tcp.emergency-closed": 0}
        settings = SuricataSettings(rules=[RULES], home_net=legs, extra=soon)
        self.version = process.find().version
        shown.stage("starting decoys")
        programs.decoys(network)
        shown.stage("starting proxies")
        programs.proxies(network)
        shown.stage("starting Peeltap and two Suricatas")
        events = directory / "events.json"
        config = programs.configuration(network, settings, events)
        peeltap = programs.peeltap(network, config)
        self.started.append((peeltap, signal.SIGTERM))
        alone, eve = programs.suricata_alone(network, settings)
        self.started.append((alone, signal.SIGTERM))
        programs.wait_ready(peeltap)
        for interface in (machines.BRIDGE, machines.TAP) if self.pcap else ():
            recording = programs.capture(network.host, interface, directory / f"{interface}.pcapng")
            self.started.append((recording, signal.SIGINT))
        wires = (machines.BRIDGE, machines.TAP)
        return Counters(network.host, wires, Voice(eve), Voice(events))

    def _settle(self, counters: Counters) -> None:
        deadline = time.monotonic() + (HOLD_SECONDS if self.request.hold else SETTLE_SECONDS)
        while not self._judge(counters).right and time.monotonic() < deadline:
            time.sleep(0.3)

    def _judge(self, counters: Counters) -> Verdict:
        return judge(STEPS, counters.alone.path, counters.corrected.path)

    @contextlib.contextmanager
    def _ended_in_order(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        """End what has files to finish; everything else ends with the world."""
        for program, number in self.started:
            if program.process.poll() is None:
                program.process.send_signal(number)
        while self.started:
            self.started.pop()[0].wait()
        if self.pcap is not None:
            for made in self.world.directory.glob("*.pcapng"):
                shutil.move(made, self.pcap / made.name)

    def _json(self, verdict: Verdict, counters: Counters) -> None:
        told = {
            "demo": "live",
            "suricata": self.version,
            "tap": "tap" if self.network.real_tap else "veth",
            "setup_steps": self.network.steps,
            **verdict.as_dict(),
            "packets": counters.packets,
            "headers_taken_out": counters.stripped,
        }
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")

    def _remarks(self) -> list[str]:
        lines = [
            f" The network was set up from {machines.TOPOLOGY},",
            f" in {self.network.steps} steps, by what peeltap setup does on a host.",
        ]
        if not self.network.real_tap:
            lines.append(f" {machines.TAP} is a veth here: this user may not open /dev/net/tun.")
        if self.pcap is not None and not self.request.hold:
            lines.append(f" Recordings of both interfaces are in {self.pcap}")
        if self.request.directory is not None:
            lines.append(f" Configurations, logs and events are in {self.world.directory}")
        return lines

    def _hold(self, console: Console) -> None:
        """Say how to look around, and wait for Ctrl-C, which is the ordinary end."""
        sudo = "sudo " if self.by_root else ""
        names = " ".join(name for name in self.network.spaces if name != "host")
        enter = f"nsenter --preserve-credentials -t {self.world.pid} --user --mount --net --pid"
        lines = (
            "",
            " Everything stays up until Ctrl-C. From another terminal:",
            f"   {sudo}{enter}",
            f"     the host, with br1, {machines.TAP}, gateway1 and Peeltap; there:",
            "     peeltap status              what Peeltap says of itself",
            "     peeltap topology            a picture of all of it",
            "     ip netns exec NAME bash     one of the other machines:",
            f"                                 {names}",
            "     and whether the network is as it was declared:",
            f"     peeltap setup status -t {self.world.directory}/{machines.APPLIED} "
            f"--state {machines.journals(self.world)}",
            f" Configurations, logs and events: {self.world.directory}",
            "",
        )
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                signal.pause()
