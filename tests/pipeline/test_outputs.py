"""Files that never look whole before they are."""

from pathlib import Path

import pytest

from pipeline.errors import RunError, UsageError
from pipeline.outputs import Output, open_sink, refuse_clashes


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
