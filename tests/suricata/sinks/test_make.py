"""From settings to clients."""

from __future__ import annotations

from pathlib import Path

from suricata.event_settings import SinkSettings
from suricata.sinks.file import FileClient
from suricata.sinks.make import make_client
from suricata.sinks.rotate import rotated
from suricata.sinks.stdout import StdoutClient


def test_each_kind_of_ours(tmp_path: Path) -> None:
    assert isinstance(make_client(SinkSettings(stdout=True)), StdoutClient)
    path = tmp_path / "out"
    settings = SinkSettings.model_validate(
        {"file": {"path": str(path), "rotate": {"mb": 1, "compress": False}}}
    )
    client = make_client(settings)
    assert isinstance(client, FileClient)
    for _ in range(2):
        client.deliver_lines(b"x" * (1 << 20) + b"\n")
    assert len(rotated(path)) == 1
    client.close()


def test_a_canary_leaves_a_running_services_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"x" * (1 << 20) + b"half")
    settings = SinkSettings.model_validate({"file": {"path": str(path), "rotate": {"mb": 1}}})
    client = make_client(settings, canary=True)
    assert isinstance(client, FileClient)
    client.deliver_lines(b"canary\n")
    client.close()
    assert path.read_bytes().endswith(b"halfcanary\n")
    assert rotated(path) == []
