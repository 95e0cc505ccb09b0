"""Every source keeps to the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from suricata.sources import Source
from suricata.sources.file import FileSource
from suricata.sources.sockets import UnixDgramSource, UnixStreamSource


@pytest.mark.parametrize("kind", ["file", "stream", "dgram"])
def test_silence_is_no_batch(tmp_path: Path, kind: str) -> None:
    source: Source
    if kind == "file":
        source = FileSource(tmp_path / "eve.json", tmp_path)
    elif kind == "stream":
        source = UnixStreamSource(tmp_path / "eve.json")
    else:
        source = UnixDgramSource(tmp_path / "eve.json")
    assert source.name == str(tmp_path / "eve.json")
    assert source.read(100, 0.01) is None
    source.commit([])
    assert source.status()["path"] == source.name
    assert not source.status()["backlog"]
    source.close()
