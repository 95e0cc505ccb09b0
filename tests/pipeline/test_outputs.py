"""Files that never look whole before they are."""

from pathlib import Path

import pytest

from pipeline.errors import RunError, UsageError
from pipeline.outputs import Output, StoreOutput, flow_output, open_sink, refuse_clashes
from reassembly.store import SqliteStore
from tests.pipeline.test_enrich import RECORD, lines


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_part_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "clean.pcapng"
    output = Output(str(final))
    # The suffix stays last: by it the core chooses the container.
    assert output.work == str(tmp_path / "clean.part.pcapng")
    output.prepare()
    with open_sink(output) as sink:
        assert sink is not None
        sink.write(b"whole")
    assert not final.exists()
    output.commit()
    assert final.read_bytes() == b"whole"
    assert output.work == str(final)
    assert names(tmp_path) == ["clean.pcapng"]


def test_a_part_that_holds_something_stays(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "flows.jsonl"))
    output.prepare()
    Path(output.work).write_bytes(b"half")
    assert output.abandon() == str(tmp_path / "flows.part.jsonl")
    assert names(tmp_path) == ["flows.part.jsonl"]


def test_an_empty_part_goes(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "flows.jsonl"))
    output.prepare()
    assert output.abandon() is None
    assert names(tmp_path) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.pcap", tmp_path / "link.pcap"
    real.write_bytes(b"old")
    link.symlink_to(real)
    output = Output(str(link))
    output.prepare()
    Path(output.work).write_bytes(b"new")
    output.commit()
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["-", "/dev/null"])
def test_streams_and_devices_are_written_directly(name: str) -> None:
    output = Output(name)
    assert not output.regular
    output.prepare()
    assert output.work == name
    output.commit()
    assert output.abandon() is None


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"absent/x: cannot be written: No such file"):
        Output(str(tmp_path / "absent" / "x")).prepare()


def test_no_output_is_no_sink() -> None:
    with open_sink(None) as sink:
        assert sink is None


def test_a_full_disk_names_the_output() -> None:
    def write() -> None:
        with open_sink(Output("/dev/full")) as sink:
            assert sink is not None
            sink.write(b"x" * 100_000)

    with pytest.raises(RunError, match=r"^/dev/full: No space left"):
        write()


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["in.pcap"], ["in.pcap"]),
        (["in.pcap"], ["./in.pcap"]),
        (["in.pcap"], ["link.pcap"]),
        (["in.pcap"], ["hard.pcap"]),
        (["part.part.pcap"], ["part.pcap"]),
        ([], ["a", "a"]),
        ([], ["a", "./a"]),
        ([], ["-", "-"]),
    ],
)
def test_outputs_that_would_destroy_something_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], outputs: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.pcap").write_bytes(b"")
    Path("part.part.pcap").write_bytes(b"")
    Path("link.pcap").symlink_to("in.pcap")
    Path("hard.pcap").hardlink_to("in.pcap")
    with pytest.raises(UsageError, match="give another name for the output"):
        refuse_clashes(inputs, [Output(name) for name in outputs])


def test_outputs_that_harm_nobody_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_clashes(["-", "in.pcap"], [Output("-"), Output("out.pcap"), Output("/dev/null")])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.sqlite", StoreOutput),
        ("a.sqlite3", StoreOutput),
        ("a.db", StoreOutput),
        ("a.jsonl", Output),
        ("a.db.jsonl", Output),
        ("-", Output),
    ],
)
def test_the_name_says_how_flow_records_are_kept(name: str, kind: type[Output]) -> None:
    assert type(flow_output(name)) is kind


def test_a_store_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "flows.sqlite"
    # A store that is used for years holds more than a week, and a replay removes nothing.
    for number, year in enumerate((1999, 2026, 2026)):
        output = StoreOutput(str(path))
        output.prepare()
        with open_sink(output) as sink:
            assert sink is not None
            record = {**RECORD, "id": f"{number:016x}", "start": f"{year}{RECORD['start'][4:]}"}
            sink.write(lines(record))
        output.commit()
    with SqliteStore(path) as store:
        assert len(store) == 3
    assert names(tmp_path) == ["flows.sqlite"]


def test_an_unfinished_store_keeps_its_records_and_an_empty_one_goes(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    output = StoreOutput(str(path))
    output.prepare()
    assert output.abandon() is None
    assert names(tmp_path) == []
    output.prepare()
    output.write(lines(RECORD))
    assert output.abandon() == str(path)
    again = StoreOutput(str(path))
    again.prepare()
    assert again.abandon() == str(path)
    assert names(tmp_path) == ["flows.db"]


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    path.write_bytes(b"something else, longer than a header of SQLite" * 100)
    with pytest.raises(RunError, match=rf"^{path} is damaged or not a flow store"):
        StoreOutput(str(path)).prepare()
    assert path.read_bytes().startswith(b"something else")
