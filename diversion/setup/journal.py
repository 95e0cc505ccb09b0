"""The journal of one topology: what was changed, from which former value, as JSON lines in a file.

    {"journal": 1, "topology": "host1", "boot": "...", "network": "4026531840"}
    {"begin": 1, "step": {...}}      written before the step is carried out
    {"done": 1, "seen": "..."}       and after it; `seen`: a ruleset's fingerprint
    {"undone": 1}                    it was taken back
    {"found": {...}}                 wanted, and there before: another topology's, or the host's own
    {"adopted": -1, "step": {...}}   taken over from a topology that went down

Lines are appended and not synced to the disk: what a crash of the machine could lose of them goes
with the kernel whose state they describe. That is also why a journal of another boot, or of another
network namespace, is void. A line cut short was of a step that had not begun.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from diversion.setup import SetupError
from diversion.setup.steps import Make, Remove, Set, Step, from_json, step_from_json, to_json
from diversion.setup.things import Desired, Key, Wanted

FORMAT = 1


@dataclass
class Entry:
    """A step that was begun, and not taken back."""

    number: int
    step: Step
    done: bool = False


@dataclass
class Journal:
    """What one topology changed, in the order of doing."""

    directory: Path
    topology: str
    entries: dict[int, Entry] = field(default_factory=dict)
    seen: dict[Key, str] = field(default_factory=dict)
    found: dict[Key, Any] = field(default_factory=dict)
    _file: TextIO | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / f"{self.topology}.journal"

    def by_key(self) -> dict[Key, Entry]:
        """The latest entry of each thing and setting."""
        return {entry.step.key: entry for entry in self.entries.values()}

    # --- Writing ----------------------------------------------------------------------------------

    def begin(self, step: Step) -> Entry:
        """Write that a step is about to be carried out."""
        self._ready()
        number = max(self.entries, default=0) + 1
        entry = self.entries[number] = Entry(max(number, 1), step)
        self._write({"begin": number, "step": to_json(step)})
        return entry

    def done(self, entry: Entry, seen: str | None = None) -> None:
        """Write that it was."""
        entry.done = True
        told: dict[str, Any] = {"done": entry.number}
        if seen is not None:
            told["seen"] = seen
            self.seen[entry.step.key] = seen
        self._write(told)

    def undone(self, number: int) -> None:
        """Write that a step was taken back, or that a later one stands for it."""
        self.entries.pop(number, None)
        self._write({"undone": number})

    def restored(self, entry: Entry) -> None:
        """Write that a step that had been taken back holds again."""
        self.entries[entry.number] = entry
        self.entries = dict(sorted(self.entries.items()))
        self._write({"begin": entry.number, "step": to_json(entry.step)})
        self.done(entry, self.seen.get(entry.step.key))

    def note_found(self, wanted: tuple[Desired, ...]) -> None:
        """Write what was wanted and is there without us."""
        fresh = {one.key: _claim(one) for one in wanted}
        if fresh != self.found:
            self.found = fresh
            self._rewrite()

    def adopt(self, step: Step) -> None:
        """Take over what another topology had made, and this one has been standing on."""
        number = min(0, *self.entries, 0) - 1
        self.entries = {number: Entry(number, step, done=True), **self.entries}
        self.found.pop(step.key, None)
        self._rewrite()

    def close(self, *, delete: bool = False) -> None:
        """Close the file; `delete`: there is nothing left to remember."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if delete:
            self.path.unlink(missing_ok=True)
        elif self.path.exists():
            self._rewrite()

    def _ready(self) -> TextIO:
        if self._file is None:
            if not self.path.exists():
                self._rewrite()
            self._file = self.path.open("a")
        return self._file

    def _write(self, told: dict[str, Any]) -> None:
        file = self._ready()
        file.write(json.dumps(told) + "\n")
        file.flush()

    def _rewrite(self) -> None:
        """Write the whole file anew with what still holds; never half."""
        if self._file is not None:
            self._file.close()
            self._file = None
        lines: list[dict[str, Any]] = [
            {"journal": FORMAT, "topology": self.topology, **_here()},
            *({"found": claim} for claim in self.found.values()),
        ]
        for entry in self.entries.values():
            word = "adopted" if entry.number < 0 else "begin"
            lines.append({word: entry.number, "step": to_json(entry.step)})
            if entry.done and entry.number > 0:
                seen = self.seen.get(entry.step.key)
                lines.append({"done": entry.number, **({"seen": seen} if seen else {})})
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.path.with_suffix(".new")
        draft.write_text("".join(json.dumps(line) + "\n" for line in lines))
        draft.replace(self.path)


def load(directory: Path, topology: str) -> Journal:
    """Read a topology's journal; an empty one if there is none, or it is of another boot.

    Raises SetupError if the file is no journal.
    """
    journal = Journal(directory, topology)
    try:
        text = journal.path.read_text()
    except FileNotFoundError:
        return journal
    except OSError as error:
        raise SetupError(f"{journal.path}: cannot be read: {error.strerror}") from None
    lines = text.split("\n")
    # The last is empty, or was cut short by a crash.
    for at, line in enumerate(lines[:-1], start=1):
        try:
            told = json.loads(line)
            if at == 1:
                if told["journal"] != FORMAT:
                    raise ValueError(f"format {told['journal']} is not {FORMAT}")
                here = _here()
                if {name: told[name] for name in here} != here:
                    return journal
            else:
                _take(journal, told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SetupError(
                f"{journal.path}:{at}: is no line of a journal ({error}); if the file is lost, "
                "move it away and run down, which then goes by the owner marks"
            ) from None
    return journal


def _take(journal: Journal, told: dict[str, Any]) -> None:
    match told:
        case {"begin": int(number), "step": plain}:
            journal.entries[number] = Entry(number, step_from_json(plain))
        case {"adopted": int(number), "step": plain}:
            journal.entries[number] = Entry(number, step_from_json(plain), done=True)
        case {"done": int(number)}:
            entry = journal.entries[number]
            entry.done = True
            if "seen" in told:
                journal.seen[entry.step.key] = str(told["seen"])
        case {"undone": int(number)}:
            journal.entries.pop(number, None)
        case {"found": plain}:
            value = from_json(plain["thing"])
            journal.found[value.key] = plain
        case _:
            raise ValueError("unknown")


def _claim(one: Desired) -> dict[str, Any]:
    if isinstance(one, Wanted):
        return {"thing": to_json(one.setting), "value": one.value}
    return {"thing": to_json(one)}


def claims(journal: Journal, step: Step) -> bool:
    """Whether a topology stands on what a step of another one did."""
    claim = journal.found.get(step.key)
    if claim is None:
        return False
    if isinstance(step, Set):
        return bool(claim.get("value") == step.value)
    return isinstance(step, Make) or not isinstance(step, Remove)


def others(journal: Journal) -> Iterator[Journal]:
    """The journals of the other topologies on this host."""
    for path in sorted(journal.directory.glob("*.journal")):
        if path.stem != journal.topology:
            yield load(journal.directory, path.stem)


def _here() -> dict[str, str]:
    """Which kernel and which network the journal is about."""
    return {
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "network": str(Path("/proc/thread-self/ns/net").stat().st_ino),
    }


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Let one setup at a time work with this directory; SetupError if there is another."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"{directory}: cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(f"another setup is at work with {directory}") from None
        yield
    finally:
        os.close(lock)
