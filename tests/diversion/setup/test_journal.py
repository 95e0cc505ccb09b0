"""The journal: what outlives a crash, and what does not count any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diversion.setup import SetupError
from diversion.setup.journal import Journal, claims, load, only_one, others
from diversion.setup.steps import Make, Set, Step
from diversion.setup.things import Link, Sysctl, Wanted
from tests.diversion.setup.samples import ruleset

BR1 = Make(Link("", "br1", "bridge"))
BR2 = Make(Link("", "br2", "bridge"))
FORWARD = Set(Sysctl("", "ipv4/ip_forward"), "1", "0")


def steps(journal: Journal) -> list[tuple[Step, bool]]:
    return [(entry.step, entry.done) for entry in journal.entries.values()]


def test_what_was_begun_is_read_back_whether_done_or_not(tmp_path: Path) -> None:
    journal = load(tmp_path, "host")
    journal.done(journal.begin(BR1))
    journal.begin(FORWARD)
    # No close: the process was killed.
    assert steps(load(tmp_path, "host")) == [(BR1, True), (FORWARD, False)]


def test_what_was_taken_back_is_gone(tmp_path: Path) -> None:
    journal = load(tmp_path, "host")
    entry = journal.begin(BR1)
    journal.done(entry)
    journal.begin(BR2)
    journal.undone(entry.number)
    journal.close()
    assert steps(load(tmp_path, "host")) == [(BR2, False)]


def test_an_entry_that_holds_again_stands_where_it_stood(tmp_path: Path) -> None:
    journal = load(tmp_path, "host")
    first = journal.begin(BR1)
    journal.begin(BR2)
    journal.undone(first.number)
    journal.restored(first)
    assert [step for step, _ in steps(journal)] == [BR1, BR2]


def test_a_line_cut_short_was_of_a_step_that_had_not_begun(tmp_path: Path) -> None:
    journal = load(tmp_path, "host")
    journal.done(journal.begin(BR1))
    with journal.path.open("a") as file:
        file.write('{"begin": 2, "st')
    assert steps(load(tmp_path, "host")) == [(BR1, True)]


def test_what_the_kernel_showed_of_rules_is_kept(tmp_path: Path) -> None:
    journal = load(tmp_path, "host")
    rules = ruleset()
    journal.done(journal.begin(Make(rules)), "abc")
    journal.close()
    assert load(tmp_path, "host").seen == {rules.key: "abc"}


@pytest.mark.parametrize("name", ["boot", "network"])
def test_a_journal_of_another_boot_or_network_is_void(tmp_path: Path, name: str) -> None:
    journal = load(tmp_path, "host")
    journal.done(journal.begin(BR1))
    lines = journal.path.read_text().splitlines()
    head = json.loads(lines[0])
    head[name] = "another"
    journal.path.write_text("\n".join([json.dumps(head), *lines[1:], ""]))
    assert load(tmp_path, "host").entries == {}


@pytest.mark.parametrize(
    "line", ["{}", "[]", '{"begin": 1, "step": {"is": "Popen"}}', '{"done": 9}', "\x00"]
)
def test_what_is_no_journal_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    journal = load(tmp_path, "host")
    journal.begin(BR1)
    with journal.path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(SetupError, match=r"host\.journal:3: is no line of a journal"):
        load(tmp_path, "host")


def test_what_was_found_is_a_claim_on_what_another_topology_made(tmp_path: Path) -> None:
    journal = load(tmp_path, "guest")
    journal.note_found((BR1.thing, Wanted(FORWARD.setting, "1")))
    [guest] = others(load(tmp_path, "host"))
    assert claims(guest, BR1)
    assert claims(guest, FORWARD)
    assert not claims(guest, BR2)
    assert not claims(guest, Set(FORWARD.setting, "0", "1"))


def test_what_is_taken_over_is_the_first_of_the_heirs(tmp_path: Path) -> None:
    journal = load(tmp_path, "guest")
    journal.done(journal.begin(BR2))
    journal.adopt(BR1)
    assert steps(load(tmp_path, "guest")) == [(BR1, True), (BR2, True)]


def test_one_setup_at_a_time(tmp_path: Path) -> None:
    with (
        only_one(tmp_path),
        pytest.raises(SetupError, match="another setup is at work"),
        only_one(tmp_path),
    ):
        pass
    with only_one(tmp_path):
        pass


def test_the_file_is_for_its_owner(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    load(directory, "host").begin(BR1)
    assert directory.stat().st_mode & 0o077 == 0
