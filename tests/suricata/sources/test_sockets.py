"""Sockets: several senders, cut lines, and who may take a path; and the real Suricata on both."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from suricata.sources import SourceError, sockets
from suricata.sources.sockets import UnixDgramSource, UnixStreamSource

ROOT = Path(__file__).parents[3]
Either = type[UnixStreamSource] | type[UnixDgramSource]
BOTH = pytest.mark.parametrize("kind", [UnixStreamSource, UnixDgramSource])


def drain(source: UnixStreamSource | UnixDgramSource) -> bytes:
    """What comes until a while of silence; batches of whole lines only."""
    out = b""
    while (batch := source.read(1000, 0.05)) is not None or out == b"":
        if batch is not None:
            assert batch.lines.endswith(b"\n")
            out += batch.lines
    return out


def sender(source: UnixStreamSource | UnixDgramSource) -> socket.socket:
    stream = isinstance(source, UnixStreamSource)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    found.connect(source.name)
    return found


def test_each_sender_has_its_own_line(tmp_path: Path) -> None:
    source = UnixStreamSource(tmp_path / "s")
    assert source.read(100, 0) is None
    one, other = sender(source), sender(source)
    source.read(100, 0.05)
    source.read(100, 0.05)
    one.sendall(b"on")
    other.sendall(b"other\nbeg")
    assert drain(source) == b"other\n"
    one.sendall(b"e\n")
    assert drain(source) == b"one\n"
    other.close()
    one.sendall(b"two\n")
    assert drain(source) == b"two\n"
    assert source.read(100, 0.05) is None
    assert source.status()["clients"] == 1
    assert source.cut == 1


def test_a_line_without_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_LINE_BYTES", 1000)
    source = UnixStreamSource(tmp_path / "s")
    source.read(100, 0)
    one = sender(source)
    one.sendall(b"x" * 5000 + b"\nnext\n")
    assert drain(source) == b"next\n"
    assert source.too_long == 1


def test_a_datagram_is_a_line_and_a_cut_one_is_counted(tmp_path: Path) -> None:
    source = UnixDgramSource(tmp_path / "s", max_datagram=2000)
    source.read(100, 0)
    one = sender(source)
    for data in (b"one", b"x" * 5000, b"two\n"):
        one.send(data)
    assert drain(source) == b"one\ntwo\n"
    assert (source.datagrams, source.truncated) == (3, 1)


@BOTH
def test_the_socket_is_the_services_own(tmp_path: Path, kind: Either) -> None:
    path = tmp_path / "s"
    source = kind(path)
    source.read(100, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    # While somebody listens, the path is not taken.
    with pytest.raises(SourceError, match="is in use by another process"):
        kind(path).read(100, 0)
    source.close()
    assert not path.exists()


@BOTH
def test_a_socket_file_left_behind_is_taken_over(tmp_path: Path, kind: Either) -> None:
    dead = kind(tmp_path / "s")
    dead.read(100, 0)
    assert dead._listening is not None
    dead._listening.close()
    source = kind(tmp_path / "s")
    source.read(100, 0)
    sender(source).send(b"one\n")
    assert drain(source) == b"one\n"


@BOTH
def test_what_cannot_be_listened_on_is_a_sentence(tmp_path: Path, kind: Either) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is there and no socket"):
        kind(tmp_path / "file").read(100, 0)
    for bad in (tmp_path / "gone" / "s", tmp_path / ("s" * 120)):
        with pytest.raises(SourceError, match="cannot be listened on"):
            kind(bad).read(100, 0)


@pytest.mark.suricata
@BOTH
def test_suricata_writes_to_it(tmp_path: Path, kind: Either) -> None:
    source = kind(tmp_path / "eve.sock")
    source.read(100, 0)
    filetype = "unix_stream" if kind is UnixStreamSource else "unix_dgram"
    config = tmp_path / "suricata.yaml"
    output = {"enabled": True, "filetype": filetype, "filename": source.name}
    output["types"] = ["http", "flow"]  # type: ignore[assignment]
    config.write_text(
        "%YAML 1.1\n---\ninclude: /etc/suricata/suricata.yaml\n"
        f"rule-files: []\nunix-command: {{enabled: false}}\n"
        f"outputs: {json.dumps([{'eve-log': output}])}\n"
    )
    capture = ROOT / "fixtures" / "captures" / "http-proxy-v2-direct.pcap"
    got = b""
    command = ["suricata", "-r", capture, "-c", config, "-l", tmp_path, "-k", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as suricata:
        while True:
            ended = suricata.poll() is not None
            batch = source.read(1 << 16, 0.05)
            if batch is not None:
                got += batch.lines
            elif ended:
                break
        assert suricata.stdout is not None
        assert suricata.returncode == 0, suricata.stdout.read()
    kinds = [json.loads(line)["event_type"] for line in got.splitlines()]
    assert "http" in kinds
    assert "flow" in kinds
    source.close()
