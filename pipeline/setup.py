"""The setup stage's work: plan, up, down and status of one topology on this host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from diversion.setup import SetupError, apply, frr, journal, sweep, words
from diversion.setup.desired import Backend, desired
from diversion.setup.machine import Machine
from diversion.setup.observed import Observed, observe
from diversion.setup.plan import Action, Plan, PlanError, plan
from diversion.setup.steps import Make, Set, Step
from diversion.setup.things import Desired, Ruleset
from pipeline.errors import ConfigError, RunError
from pipeline.topology_file import TopologyFile

DIRECTORY: Final = Path("/var/lib/peeltap/setup")
"""Where the journals are."""


@dataclass
class Outcome:
    """What was done, or is to be done: each step as the commands that a person would have typed."""

    topology: str
    state: str
    steps: list[list[str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    sessions: list[frr.Session] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        told: dict[str, Any] = {
            "topology": self.topology,
            "state": self.state,
            "steps": [{"commands": lines} for lines in self.steps],
        }
        if self.sessions:
            told["sessions"] = [asdict(one) for one in self.sessions]
        return told | ({"left": self.left} if self.left else {})


Watch = Callable[[Step], None]


def backend(file: TopologyFile) -> Backend:
    """The firewall's back end: the file's choice, or what this host has; RunError if neither."""
    if file.settings.firewall is not None:
        return file.settings.firewall
    for one in _backends():
        return one
    raise RunError("this host has neither nft nor iptables; apt-get install nftables")


def _backends() -> list[Backend]:
    """The back ends that this host has, the preferred one first."""
    programs: dict[Backend, str] = {"nftables": "nft", "iptables": "iptables-save"}
    return [name for name, program in programs.items() if shutil.which(program) is not None]


def wanted(file: TopologyFile) -> list[Desired]:
    """Everything that the file asks for."""
    return desired(file.settings, backend(file))


def planned(file: TopologyFile, directory: Path, *, cut_me_off: bool = True) -> Plan:
    """Find the steps as values; ConfigError where the host stands in the way."""
    with _Work(file, directory) as work:
        return work.plan(cut_me_off=cut_me_off)


def examine(file: TopologyFile, directory: Path, *, cut_me_off: bool = False) -> Outcome:
    """Find the steps and touch nothing; ConfigError where the host stands in the way."""
    found = planned(file, directory, cut_me_off=cut_me_off)
    state = "complete" if not found.actions else "changes"
    return Outcome(file.settings.name, state, _commands(found))


def up(
    file: TopologyFile,
    directory: Path,
    *,
    cut_me_off: bool = False,
    watch: Watch = lambda step: None,
) -> Outcome:
    """Make the topology; RunError if a step failed, with all before it taken back."""
    try:
        with journal.only_one(directory), _Work(file, directory) as work:
            found = work.plan(cut_me_off=cut_me_off)
            apply.up(work.machine, found, work.journal, watch)
    except SetupError as error:
        raise RunError(str(error)) from error
    return Outcome(file.settings.name, "up", _commands(found))


def down(file: TopologyFile, directory: Path, *, watch: Watch = lambda step: None) -> Outcome:
    """Take back what the topology's journal has; without a journal, what carries its mark."""
    done: list[Step] = []

    def both(step: Step) -> None:
        done.append(step)
        watch(step)

    try:
        with journal.only_one(directory), _Work(file, directory) as work:
            known = work.journal.path.exists()
            left = apply.down(work.machine, work.journal, both)
            if not known:
                left += work.sweep(both)
    except SetupError as error:
        raise RunError(str(error)) from error
    if left:
        raise RunError(f"{len(left)} steps could not be taken back: {left[0]}")
    return Outcome(file.settings.name, "down", [words.commands(step) for step in done])


def status(file: TopologyFile, directory: Path) -> Outcome:
    """Compare the host with the file.

    `up`, `down`, `drift` with the steps back to it, or `partial`: as the file says, and sessions
    with other hosts do not stand.
    """
    name = file.settings.name
    with _Work(file, directory) as work:
        recorded = bool(work.journal.entries or work.journal.found)
        try:
            found = work.plan(cut_me_off=True)
        except ConfigError as error:
            return Outcome(name, "drift", left=error.lines)
        if not recorded:
            return Outcome(name, "down")
        sessions = work.sessions()
    state = "up" if all(one.stands for one in sessions) else "partial"
    return Outcome(name, "drift" if found.actions else state, _commands(found), sessions=sessions)


class _Work:
    """A topology, the kernel and the journal, for as long as one command takes."""

    def __init__(self, file: TopologyFile, directory: Path) -> None:
        self.file = file
        self.machine = Machine(file.settings.name)
        self.directory = directory

    def __enter__(self) -> _Work:
        try:
            self.journal = journal.load(self.directory, self.file.settings.name)
        except SetupError as error:
            raise RunError(str(error)) from error
        self.machine.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.machine.__exit__(*error)

    def plan(self, *, cut_me_off: bool) -> Plan:
        asked = wanted(self.file)
        try:
            seen = self.look(asked)
            return plan(asked, seen, self.journal.entries, self.journal.seen, cut_me_off=cut_me_off)
        except PlanError as error:
            raise self.file.error(error.problems) from None
        except SetupError as error:
            raise RunError(str(error)) from error

    def sweep(self, watch: Watch) -> list[str]:
        """Remove what carries the topology's mark and was in no journal."""
        left = []
        for step in sweep.sweep(self.machine, _backends()):
            watch(step)
            try:
                self.machine.apply(step, strict=False)
            except SetupError as error:
                left.append(f"{words.commands(step)[0]}: {error}")
        return left

    def sessions(self) -> list[frr.Session]:
        """The BGP sessions with the file's neighbours."""
        asked = self.file.settings
        if asked.frr is None:
            return []
        addresses = [one.address for one in asked.frr.neighbours]
        return frr.sessions(self.machine.run, asked.name, addresses)

    def look(self, asked: list[Desired]) -> Observed:
        entries = self.journal.entries.values()
        settings = [one.step.setting for one in entries if isinstance(one.step, Set)]
        observed = observe(self.machine, asked, settings)
        for other in journal.others(self.journal):
            _leave_out(observed, other)
        return observed


def _leave_out(observed: Observed, other: journal.Journal) -> None:
    """Tables of iptables that came with another topology go with the last of both."""
    for entry in other.entries.values():
        rules = entry.step.thing if isinstance(entry.step, Make) else None
        if isinstance(rules, Ruleset) and rules.namespace in observed.tables:
            before = observed.tables[rules.namespace]
            kept = tuple(one for one in before if one in rules.tables_before)
            observed.tables[rules.namespace] = kept


def _commands(found: Plan) -> list[list[str]]:
    return [_lines(action) for action in found.actions]


def _lines(action: Action) -> list[str]:
    return words.commands(action.step)
