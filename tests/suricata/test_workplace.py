"""The directory of the live Suricata: alone in it, an earlier run's files out of the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suricata.process import InputError, Installed
from suricata.settings import SuricataSettings
from suricata.workplace import Workplace

INSTALLED = Installed("/usr/bin/suricata", "7.0.10")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text("%YAML 1.1\n---\n")
    return path


@pytest.fixture
def place(tmp_path: Path, base: Path) -> Workplace:
    return Workplace(SuricataSettings(base=base, eve_max_mb=1), "vtap0", tmp_path / "suricata")


def test_one_at_a_time(place: Workplace, base: Path) -> None:
    place.take()
    other = Workplace(SuricataSettings(base=base), "vtap0", place.directory)
    with pytest.raises(BlockingIOError):
        other.take()
    place.release()
    other.take()
    other.release()
    assert place.directory.stat().st_mode & 0o777 == 0o750


def test_what_an_earlier_run_left(place: Workplace) -> None:
    place.take()
    for name in ("command.sock", "suricata.pid", "engine.json", "stderr.log"):
        (place.directory / name).write_text(name)
    place.eve.write_text('{"cut')
    arguments = place.prepare(INSTALLED, "d1e0", None)
    place.release()
    assert not place.command_socket.exists()
    assert not (place.directory / "suricata.pid").exists()
    assert (place.directory / "engine.json.1").read_text() == "engine.json"
    assert (place.directory / "stderr.log.1").exists()
    assert place.eve.read_text() == '{"cut\n'
    assert arguments[:3] == ["/usr/bin/suricata", "-c", str(place.config)]
    assert arguments[-1] == "peeltap.digest=d1e0"
    assert "--af-packet=vtap0" in arguments


def test_rules_of_its_own_or_others(place: Workplace) -> None:
    place.take()
    place.write_config([Path("/copy/001-my.rules")])
    assert "/copy/001-my.rules" in place.config.read_text()
    place.write_config(None)
    assert "/copy" not in place.config.read_text()
    place.release()


def test_the_digest_is_of_all_that_matters(place: Workplace, base: Path, tmp_path: Path) -> None:
    seen = {place.digest(INSTALLED), place.digest(Installed("/usr/bin/suricata", "8.0.1"))}
    settings = SuricataSettings(base=base, eve_max_mb=1)
    seen.add(Workplace(settings, "vtap1", place.directory).digest(INSTALLED))
    changed = settings.model_copy(update={"threads": 2})
    seen.add(Workplace(changed, "vtap0", place.directory).digest(INSTALLED))
    assert len(seen) == 4
    alike = settings.model_copy(update={"keep_running": True, "eve_keep": 9})
    assert Workplace(alike, "vtap0", place.directory).digest(INSTALLED) in seen
    base.write_text("%YAML 1.1\n---\nother: 1\n")
    assert place.digest(INSTALLED) not in seen


def test_files_that_grow(place: Workplace) -> None:
    place.take()
    place.eve.write_bytes(b"x" * (1 << 20))
    assert place.tend() == []
    place.engine_log.write_bytes(b"")
    os.truncate(place.engine_log, (16 << 20) + 1)
    place.eve.write_bytes(b"x" * ((1 << 20) + 1))
    assert place.tend() == [place.eve]
    assert not place.eve.exists()
    assert place.engine_log.stat().st_size == 0
    place.release()


def test_a_disk_with_room(place: Workplace) -> None:
    """A full one: tests/netns/test_faults_suricata."""
    with pytest.raises(FileNotFoundError):
        place.is_full()
    place.take()
    assert not place.is_full()
    place.release()


@pytest.mark.parametrize("settings", [{"eve_max_mb": 0}, {"eve_output": "unix_stream"}])
def test_files_that_are_left_alone(tmp_path: Path, settings: dict[str, object]) -> None:
    place = Workplace(SuricataSettings.model_validate(settings), "vtap0", tmp_path)
    (tmp_path / "eve.json").write_bytes(b"x" * (2 << 20))
    assert place.tend() == []


def test_where_events_are(tmp_path: Path) -> None:
    for output, name in (("file", "eve.json"), ("unix_dgram", "eve.sock")):
        settings = SuricataSettings.model_validate({"eve_output": output})
        assert Workplace(settings, "vtap0", tmp_path).eve == tmp_path / name


def test_mistakes_have_a_remedy(tmp_path: Path, base: Path) -> None:
    deep = Workplace(SuricataSettings(base=base), "vtap0", tmp_path / ("d" * 100))
    deep.take()
    with pytest.raises(InputError, match="give state: directory: a shorter one"):
        deep.prepare(INSTALLED, "d1e0", None)
    deep.release()
    nobody = Workplace(SuricataSettings(run_as="no-such-user"), "vtap0", tmp_path / "s")
    if os.geteuid() == 0:
        with pytest.raises(LookupError):
            nobody.take()
