"""Carries plans out: each step with its line in the journal, all of them or none.

    up      the plan's actions; if one fails, those before it are taken back, latest first
    down    everything in the journal, latest first; what another topology stands on goes to it

A step that was begun and of which no journal says that it was done may or may not have been; taking
it back bears both.
"""

from __future__ import annotations

from collections.abc import Callable

from diversion.setup import SetupError
from diversion.setup.firewall import iptables, nft
from diversion.setup.journal import Entry, Journal, claims, others
from diversion.setup.machine import Machine
from diversion.setup.plan import Action, Plan
from diversion.setup.steps import Make, Step
from diversion.setup.things import Ruleset
from diversion.setup.words import commands

Watch = Callable[[Step], None]
"""Called before each step."""


class StepError(SetupError):
    """A step failed and the ones before it were taken back, but for those in `left`."""

    def __init__(self, step: Step, reason: str, left: list[str]) -> None:
        text = f"{commands(step)[0]}: {reason}"
        text += "; everything before it was taken back" if not left else f"; {len(left)} steps stay"
        super().__init__(text)
        self.step = step
        self.left = left


def _nothing(step: Step) -> None:
    del step


def up(machine: Machine, plan: Plan, journal: Journal, watch: Watch = _nothing) -> None:
    """Carry a plan out. Raises StepError after taking back what was done; so does Ctrl-C."""
    done: list[Callable[[], None]] = []
    current: Step | None = None
    try:
        for action in plan.actions:
            current = action.step
            _act(machine, action, journal, watch, done)
    except BaseException as error:
        left = _take_back(done)
        journal.close(delete=not journal.entries)
        if isinstance(error, SetupError) and current is not None:
            raise StepError(current, str(error), left) from error
        raise
    journal.note_found(plan.found)
    journal.close(delete=not journal.entries and not journal.found)


def _act(
    machine: Machine,
    action: Action,
    journal: Journal,
    watch: Watch,
    done: list[Callable[[], None]],
) -> None:
    if action.cancels is not None:
        cancelled = journal.entries[action.cancels]

        def restore(entry: Entry = cancelled) -> None:
            machine.apply(entry.step, strict=False)
            journal.restored(entry)

        # Before the step: half of it may be done when it fails.
        done.append(restore)
        watch(action.step)
        machine.apply(action.step, strict=False)
        journal.undone(cancelled.number)
        return
    former = journal.entries.get(action.replaces) if action.replaces is not None else None
    entry = journal.begin(action.step)

    def back() -> None:
        inverse = entry.step.inverse
        if inverse is not None:
            machine.apply(inverse, strict=False)
        journal.undone(entry.number)
        if former is not None:
            journal.restored(former)

    done.append(back)
    watch(action.step)
    try:
        machine.apply(action.step)
    except SetupError as error:
        if error.was_there:
            # Somebody made it since we looked: it is not ours to take back.
            done.pop()
            journal.undone(entry.number)
        raise
    journal.done(entry, _seen(machine, action.step))
    if former is not None:
        journal.undone(former.number)


def _seen(machine: Machine, step: Step) -> str | None:
    """What the kernel shows of a ruleset that was just made."""
    if not isinstance(step, Make) or not isinstance(step.thing, Ruleset):
        return None
    fingerprint = nft.fingerprint if step.thing.backend == "nftables" else iptables.fingerprint
    return fingerprint(machine.run, step.thing.namespace, step.thing.name)


def _take_back(done: list[Callable[[], None]]) -> list[str]:
    """Run the ways back, latest first; the reasons of those that failed."""
    left = []
    for back in reversed(done):
        try:
            back()
        except SetupError as error:
            left.append(str(error))
    return left


def down(machine: Machine, journal: Journal, watch: Watch = _nothing) -> list[str]:
    """Take back everything in the journal; the reasons of what could not be.

    What another topology stands on is handed over to it instead.
    """
    left = []
    heirs = list(others(journal))
    for entry in reversed(list(journal.entries.values())):
        heir = next((one for one in heirs if claims(one, entry.step)), None)
        if heir is not None:
            heir.adopt(entry.step)
            journal.undone(entry.number)
            continue
        inverse = entry.step.inverse
        try:
            if inverse is not None:
                watch(inverse)
                machine.apply(inverse, strict=False)
        except SetupError as error:
            left.append(f"{commands(inverse)[0] if inverse else entry.step}: {error}")
            continue
        journal.undone(entry.number)
    journal.close(delete=not journal.entries)
    return left
