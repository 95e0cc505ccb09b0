"""A file with its log and its index, moved out of the way."""

from pathlib import Path

from reassembly.aside import move_aside

NOW = 1_800_000_000_000_000_000


def test_what_belongs_to_a_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "flows.sqlite"
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"flows.sqlite{suffix}").write_text(suffix)
    assert move_aside(path, NOW) == tmp_path / "flows.sqlite.bad-20270115T080000"
    path.write_text("another one")
    assert move_aside(path, NOW) == tmp_path / "flows.sqlite.bad-20270115T080000-2"
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "flows.sqlite.bad-20270115T080000": "",
        "flows.sqlite.bad-20270115T080000-wal": "-wal",
        "flows.sqlite.bad-20270115T080000-shm": "-shm",
        "flows.sqlite.bad-20270115T080000-2": "another one",
    }
