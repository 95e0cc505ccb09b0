"""Each kind has a client of its own, whose library is imported when it is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suricata.event_settings import COMMON, SinkSettings
from suricata.sinks.file import FileClient
from suricata.sinks.make import make_client
from suricata.sinks.rotate import rotated

SINKS: dict[str, dict[str, Any]] = {
    "file": {"path": "/nonexistent/events.json"},
    "stdout": True,  # type: ignore[dict-item]
    "syslog": {"address": "tls://siem"},
    "elasticsearch": {"url": "https://siem"},
    "splunk": {"url": "https://siem", "token": {"env": "T"}},
    "kafka": {"brokers": ["siem"]},
    "redis": {"url": "rediss://siem"},
    "webhook": {"url": "https://siem"},
}


def test_no_kind_is_left_out() -> None:
    assert set(SINKS) == set(SinkSettings.model_fields) - set(COMMON)


@pytest.mark.parametrize("kind", SINKS)
def test_a_client_is_made_and_connects_to_nothing_yet(kind: str) -> None:
    client = make_client(SinkSettings.model_validate({kind: SINKS[kind]}))
    assert client.kind == kind
    assert isinstance(client.status(), dict)
    client.reopen()
    client.close()


@pytest.mark.parametrize("kind", ["syslog", "elasticsearch", "splunk", "redis", "webhook"])
def test_a_certificate_that_cannot_be_used_is_told_at_once(kind: str, tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    settings = SinkSettings.model_validate({kind: {**SINKS[kind], "ca": str(broken)}})
    with pytest.raises(ValueError, match=f"ca: {broken} cannot be used"):
        make_client(settings)


def test_libraries_are_imported_for_their_kinds_alone() -> None:
    code = (
        "import sys\n"
        "from suricata.event_settings import SinkSettings\n"
        "from suricata.sinks.make import make_client\n"
        "make_client(SinkSettings.model_validate({'file': '/nonexistent/a'}))\n"
        "print(sorted({'redis', 'urllib3', 'confluent_kafka', 'ssl'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_file_is_turned_over_as_its_settings_say(tmp_path: Path) -> None:
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
