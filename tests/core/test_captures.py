"""Whole captures through `Replay`: containers, link types, pipes, bad input.

What goes in is written here with `struct` or by editcap, what comes out is read with `struct` and
dpkt: nothing of ours is on both sides.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest
from peeltap_core import Replay

from reassembly.capture_filter import compile_filters
from tests.support import headers
from tests.support.conversation import Conversation
from tests.support.driver import configure
from tests.support.packets import Leg
from tests.support.reassembler import reassemble

REQUEST = b"GET /admin HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 404 Not Found\r\n\r\n"
START = 1_767_225_600 * 10**9 + 123_456_000
LINK_TYPES = {"ethernet": 1, "raw": 101, "sll": 113, "sll2": 276, "null": 0}

Timed = list[tuple[int, bytes]]
"""Nanoseconds since the epoch, frame."""


def conversation(link: str = "ethernet", port: int = 40001) -> Timed:
    """Request and answer behind a header, a millisecond and a microsecond a packet."""
    told = Conversation(Leg(link=link, client_port=port), headers.proxy_v2(), REQUEST, ANSWER)
    told.handshake()
    told.send(True, 10)
    told.send(True, 1000)
    told.ack(False)
    told.send(False, 1000)
    told.ack(True)
    told.close("fin")
    return [
        (START + index * 1_001_000, told.leg.frame(packet))
        for index, packet in enumerate(told.captured)
    ]


def pcap(packets: Timed, link: str = "ethernet", order: str = "<", unit: int = 1000) -> bytes:
    """A pcap file; `unit` is the nanoseconds of a timestamp's fraction."""
    magic = 0xA1B2C3D4 if unit == 1000 else 0xA1B23C4D
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, LINK_TYPES[link])]
    for ts, frame in packets:
        seconds, nanos = divmod(ts, 10**9)
        parts.append(struct.pack(f"{order}IIII", seconds, nanos // unit, len(frame), len(frame)))
        parts.append(frame)
    return b"".join(parts)


def read_pcap(data: bytes) -> tuple[int, Timed]:
    """Link type and packets."""
    order, unit = {
        b"\xd4\xc3\xb2\xa1": ("<", 1000),
        b"\xa1\xb2\xc3\xd4": (">", 1000),
        b"\x4d\x3c\xb2\xa1": ("<", 1),
        b"\xa1\xb2\x3c\x4d": (">", 1),
    }[data[:4]]
    (link_type,) = struct.unpack_from(f"{order}I", data, 20)
    at, packets = 24, []
    while at < len(data):
        seconds, fraction, captured, original = struct.unpack_from(f"{order}IIII", data, at)
        assert original == captured
        packets.append((seconds * 10**9 + fraction * unit, data[at + 16 : at + 16 + captured]))
        assert len(packets[-1][1]) == captured
        at += 16 + captured
    return link_type, packets


def read_pcapng(path: Path) -> tuple[int, Timed]:
    with path.open("rb") as stream:
        reader = dpkt.pcapng.Reader(stream)
        # dpkt gives a float, which holds microseconds of this century and no more.
        packets = [(round(ts * 10**6) * 1000, frame) for ts, frame in reader]
        return reader.idb.linktype, packets


def read(path: Path) -> tuple[int, Timed]:
    return read_pcapng(path) if path.suffix == ".pcapng" else read_pcap(path.read_bytes())


def replay(inputs: list[Path], output: Path | None, **options: Any) -> Replay:
    names = [str(path) for path in inputs]
    core = Replay(configure(), names, str(output) if output else None, **options)
    while core.step(3):
        pass
    assert not core.step(3)
    return core


def check_stripped(went_in: Timed, came_out: Timed, link: str) -> None:
    """The streams are those of the application; packets kept their times and their order."""
    connection = reassemble([frame for _, frame in came_out], link).only()
    assert not connection.faults
    assert connection.to_server.whole() == REQUEST
    assert connection.to_client.whole() == ANSWER
    times = [ts for ts, _ in came_out]
    assert times == sorted(times)
    assert set(times) <= {ts for ts, _ in went_in}
    assert len(times) >= len(went_in) - 1


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "in.pcap"
    path.write_bytes(pcap(conversation()))
    return path


@pytest.mark.parametrize("link", LINK_TYPES)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("unit", [1000, 1], ids=["us", "ns"])
@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
def test_every_link_type_goes_through(
    tmp_path: Path, link: str, order: str, unit: int, suffix: str
) -> None:
    went_in = conversation(link)
    source, sink = tmp_path / "in.pcap", tmp_path / f"out{suffix}"
    source.write_bytes(pcap(went_in, link, order, unit))
    core = replay([source], sink)
    link_type, came_out = read(sink)
    assert link_type == LINK_TYPES[link]
    check_stripped(went_in, came_out, link)
    assert core.stats()["connections"] == {"stripped": 1}
    assert core.progress() == (len(went_in), source.stat().st_size, source.stat().st_size)
    assert core.warnings() == []


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    went_in = [(ts + index, frame) for index, (ts, frame) in enumerate(conversation())]
    source, sink = tmp_path / "in.pcap", tmp_path / "out.pcap"
    source.write_bytes(pcap(went_in, unit=1))
    for inputs in ([source], [source, source]):
        replay(inputs, sink)
        times = {ts for ts, _ in read(sink)[1]}
        assert times <= {ts for ts, _ in went_in}
        assert {ts % 1000 for ts in times} > {0}


@pytest.mark.tool
@pytest.mark.parametrize("container", ["pcapng", "nsecpcap", "modpcap", "pcap"])
def test_containers_that_editcap_writes_are_read(
    tmp_path: Path, capture: Path, container: str
) -> None:
    assert shutil.which("editcap"), "editcap is not installed: run make setup"
    source, sink = tmp_path / "in", tmp_path / "out.pcap"
    subprocess.run(["editcap", "-F", container, str(capture), str(source)], check=True)
    replay([source], sink)
    check_stripped(conversation(), read(sink)[1], "ethernet")


@pytest.mark.tool
@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
def test_tshark_reads_what_is_written(tmp_path: Path, capture: Path, suffix: str) -> None:
    assert shutil.which("tshark"), "tshark is not installed: run make setup"
    sink = tmp_path / f"out{suffix}"
    replay([capture], sink)
    fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "http.request.uri"]
    run = subprocess.run(
        ["tshark", "-r", str(sink), "-o", "tcp.check_checksum:TRUE", *fields],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    times = [
        int(seconds) * 10**9 + int(nanos) for seconds, nanos in (a[0].split(".") for a in lines)
    ]
    assert times == [ts for ts, _ in read(sink)[1]]
    assert "/admin" in {line[1] for line in lines}


def test_inputs_are_merged_by_time(tmp_path: Path) -> None:
    both = [conversation(port=40001), conversation(port=40002)]
    inputs = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    for path, packets in zip(inputs, both, strict=True):
        path.write_bytes(pcap(packets))
    replay(inputs, tmp_path / "out.pcap")
    _, came_out = read(tmp_path / "out.pcap")
    times = [ts for ts, _ in came_out]
    assert times == sorted(times)
    found = reassemble([frame for _, frame in came_out]).finish()
    assert [connection.client[1] for connection in found] == [40001, 40002]
    assert [connection.to_server.whole() for connection in found] == [REQUEST, REQUEST]


def test_link_types_that_differ_need_pcapng(tmp_path: Path) -> None:
    inputs = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    for path, link in zip(inputs, ("ethernet", "sll"), strict=True):
        path.write_bytes(pcap(conversation(link), link))
    with pytest.raises(ValueError, match=r"b\.pcap: .* Linux cooked v1 .* ends in \.pcapng$"):
        replay(inputs, tmp_path / "out.pcap")
    replay(inputs, tmp_path / "out.pcapng")
    assert (tmp_path / "out.pcapng").stat().st_size > 0


SCRIPT = """
import sys
from peeltap_core import Replay
try:
    core = Replay(sys.argv[1].encode(), ["-"], sys.argv[2])
    print("ready", file=sys.stderr, flush=True)
    while core.step(1000):
        pass
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


@pytest.fixture
def piped(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that replays standard input to the output that the test's parameter names."""
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, configure().decode(), getattr(request, "param", "-")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        yield child
        child.kill()


def test_pipes_are_read_and_written(piped: subprocess.Popen[bytes]) -> None:
    went_in = conversation()
    out, _ = piped.communicate(pcap(went_in))
    check_stripped(went_in, read_pcap(out)[1], "ethernet")
    assert piped.returncode == 0


def test_a_packet_leaves_while_the_pipe_is_open(piped: subprocess.Popen[bytes]) -> None:
    assert piped.stdin is not None
    assert piped.stdout is not None
    first, second, *_ = conversation()
    piped.stdin.write(pcap([first]))
    piped.stdin.flush()
    expected = pcap([first])
    assert piped.stdout.read(len(expected)) == expected
    piped.stdin.write(pcap([second])[24:])
    piped.stdin.close()
    assert piped.stdout.read() == pcap([second])[24:]


@pytest.mark.parametrize("sent", [b"", pcap([])], ids=["before the header", "behind the header"])
def test_ctrl_c_ends_the_wait_for_a_pipe(piped: subprocess.Popen[bytes], sent: bytes) -> None:
    assert piped.stdin is not None
    assert piped.stderr is not None
    piped.stdin.write(sent)
    piped.stdin.flush()
    if sent:
        assert piped.stderr.readline() == b"ready\n"
    else:
        while not is_reading_standard_input(Path(f"/proc/{piped.pid}")):
            time.sleep(0.01)
    piped.send_signal(signal.SIGINT)
    assert b"interrupted" in piped.stderr.read()
    assert piped.wait() == 1


READ = {"x86_64": 0, "aarch64": 63}[os.uname().machine]
"""The number of read(2)."""


def is_reading_standard_input(process: Path) -> bool:
    """Whether it sleeps in a read of the pipe, by whatever descriptor (proc(5): syscall)."""
    number, _, rest = (process / "syscall").read_text().partition(" ")
    if number != str(READ):
        return False
    descriptor = process / "fd" / str(int(rest.split()[0], 16))
    return descriptor.exists() and descriptor.readlink() == (process / "fd/0").readlink()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"in\.pcap: empty"),
        (b"\xd4\xc3\xb2\xa1\x02", r"in\.pcap: not a capture: it ends within the file header"),
        (b"%PDF-1.7 is not what you think", r"in\.pcap: not a capture"),
        (b"\x1f\x8b\x08\x00", r"in\.pcap: compressed with gzip; unpack it .*zcat"),
    ],
)
def test_what_is_not_a_capture_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    source, sink = tmp_path / "in.pcap", tmp_path / "out.pcap"
    source.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        replay([source], sink)
    assert not sink.exists()


def test_files_that_cannot_be_opened_are_named(tmp_path: Path, capture: Path) -> None:
    missing = tmp_path / "missing"
    cases: list[tuple[type[OSError], list[Path], Path, Path]] = [
        (FileNotFoundError, [capture, missing], tmp_path / "out.pcap", missing),
        (FileNotFoundError, [capture], missing / "out.pcap", missing / "out.pcap"),
        (IsADirectoryError, [tmp_path], tmp_path / "out.pcap", tmp_path),
        (IsADirectoryError, [capture], tmp_path, tmp_path),
    ]
    for kind, inputs, output, culprit in cases:
        with pytest.raises(kind) as caught:
            replay(inputs, output)
        assert caught.value.filename == str(culprit)
        assert "os error" not in str(caught.value)


def test_a_full_disk_is_said_with_the_output_s_name(capture: Path) -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        replay([capture], Path("/dev/full"))


def test_the_output_is_never_an_input(tmp_path: Path, capture: Path) -> None:
    before = capture.read_bytes()
    link = tmp_path / "link.pcap"
    link.hardlink_to(capture)
    with pytest.raises(ValueError, match="same file as the input"):
        replay([capture], link)
    assert capture.read_bytes() == before


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
def test_a_cut_capture_gives_everything_up_to_the_cut(
    tmp_path: Path, capture: Path, suffix: str
) -> None:
    whole, sink = capture.read_bytes(), tmp_path / f"out{suffix}"
    replay([capture], sink)
    expected = read(sink)[1][:-1]
    capture.write_bytes(whole[:-10])
    core = replay([capture], sink)
    assert read(sink)[1] == expected
    assert core.stats()["capture"]["truncated"]
    (warning,) = core.warnings()
    assert f"{capture}: cut or damaged at byte {len(whole) - 70}" in warning


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
@pytest.mark.parametrize("link", LINK_TYPES)
def test_a_filter_keeps_packets_from_the_engine(tmp_path: Path, link: str, suffix: str) -> None:
    source, sink = tmp_path / "in.pcap", tmp_path / f"out{suffix}"
    told = conversation(link, 40001) + conversation(link, 40002)
    source.write_bytes(pcap(told, link))
    core = replay([source], sink, filter=compile_filters("tcp port 40002"))
    connection = reassemble([frame for _, frame in read(sink)[1]], link).only()
    assert connection.client[1] == 40002
    stats = core.stats()
    assert stats["capture"]["filtered"] == len(told) // 2
    assert stats["packets"]["in"] == len(told) // 2


def test_one_program_for_all_is_taken_too(tmp_path: Path, capture: Path) -> None:
    core = replay([capture], None, filter=[(0x06, 0, 0, 0)])
    assert core.stats()["packets"]["in"] == 0
    with pytest.raises(ValueError, match="must end in a return"):
        replay([capture], None, filter=[(0x00, 0, 0, 0)])


def test_without_an_output_there_are_records_still(capture: Path) -> None:
    core = replay([capture], None)
    assert b'"verdict":"stripped"' in core.take_records().replace(b": ", b":")
    assert core.take_records() == b""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source, sink = tmp_path / "in.pcap", tmp_path / "out.pcap"
    frame = conversation()[0][1].ljust(1514, b"\xee")
    with source.open("wb") as stream:
        stream.write(pcap([]))
        for index in range(64):
            block = [(START + index * 10**9 + number * 1000, frame) for number in range(1000)]
            stream.write(pcap(block)[24:])
    script = f"""
import resource
from peeltap_core import Replay
core = Replay({configure()!r}, [{str(source)!r}], {str(sink)!r})
core.step(1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
while core.step(1000): pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert source.stat().st_size > 90 << 20
    assert int(run.stdout) * 1024 < 12 << 20


def test_progress_is_seen_from_another_thread(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    packets = conversation()
    core_ready = threading.Event()
    seen: list[int] = []

    def run() -> None:
        core = Replay(configure(), [f"/proc/self/fd/{reading}"], None)
        cores.append(core)
        core_ready.set()
        while core.step(1):
            pass

    cores: list[Replay] = []
    thread = threading.Thread(target=run)
    thread.start()
    os.write(writing, pcap(packets[:2]))
    core_ready.wait()
    # The thread now waits for the pipe within a step; asking neither waits nor fails.
    while not seen or seen[-1] < 2:
        count, _, total = cores[0].progress()
        seen.append(count)
        assert total is None
        time.sleep(0.01)
    os.close(writing)
    thread.join()
    os.close(reading)
    assert seen[-1] == 2


def test_the_descriptors_are_closed(tmp_path: Path, capture: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    replay([capture], tmp_path / "out.pcap")
    assert sorted(Path("/proc/self/fd").iterdir()) == before
