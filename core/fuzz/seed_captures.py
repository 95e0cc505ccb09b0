"""Makes the seed corpora of captures and filters: `PYTHONPATH=. python core/fuzz/seed_captures.py`.

One conversation of two packets in each container that editcap writes, and filters that libpcap
compiles.
"""

import struct
import subprocess
import tempfile
from pathlib import Path

from reassembly.capture_filter import compile_filters

HERE = Path(__file__).parent
FRAME = (
    bytes.fromhex("0242ac1017020242ac1017010800") + b"E\0\0\x2c" + bytes(5) + b"\x06" + bytes(34)
)
EXPRESSIONS = ("", "tcp port 80", "vlan and ip6", "ip[8:4] > 3 and len <= 99", "tcp[13] & 2 != 0")


def write(target: str, name: str, data: bytes) -> None:
    """Write one input of ``target``'s corpus."""
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def pcap(order: str, magic: int) -> bytes:
    """Two packets."""
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    record = struct.pack(f"{order}IIII", 1_767_225_600, 7, len(FRAME), len(FRAME) + 8) + FRAME
    return head + 2 * record


def captures() -> None:
    """Each container, whole and cut."""
    files = {
        f"{name}-{order_name}": pcap(order, magic)
        for name, magic in (("us", 0xA1B2C3D4), ("ns", 0xA1B23C4D))
        for order_name, order in (("little", "<"), ("big", ">"))
    }
    with tempfile.TemporaryDirectory() as folder:
        source, sink = Path(folder, "in"), Path(folder, "out")
        source.write_bytes(files["us-little"])
        for container in ("pcapng", "modpcap"):
            subprocess.run(["editcap", "-F", container, str(source), str(sink)], check=True)  # noqa: S607
            files[container] = sink.read_bytes()
    for name, data in files.items():
        write("captures", name, data)
        write("captures", f"{name}-cut", data[:-5])


def filters() -> None:
    """Each expression, for each kind of program that the link types need."""
    for number, expression in enumerate(EXPRESSIONS):
        for link_type, program in compile_filters(expression).items():
            code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
            write("filters", f"{number}-{link_type}", bytes((len(program),)) + code + FRAME)


if __name__ == "__main__":
    captures()
    filters()
