"""What a machine lacks that cannot boot another one is told, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import machine


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    """The kernel is looked for once; not so here."""
    machine.kernel.cache_clear()
    yield
    machine.kernel.cache_clear()


def lay(root: Path, *modules: str) -> None:
    (root / "boot").mkdir(parents=True)
    (root / "boot/vmlinuz-6.1.0-9-amd64").touch()
    for module in modules:
        path = root / "lib/modules/6.1.0-9-amd64/kernel" / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def lay_programs(directory: Path, busybox: bytes) -> None:
    directory.mkdir()
    for name in (machine.QEMU, "modprobe"):
        (directory / name).touch(mode=0o755)
    (directory / "busybox").write_bytes(busybox)
    (directory / "busybox").chmod(0o755)


def test_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert machine.missing() == "the virtual machine is for x86_64, and this is aarch64"


def test_programs_and_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(machine, "_PROGRAMS", str(tmp_path / "none"))
    assert "qemu-system-x86_64 is not installed; run make setup" in str(machine.missing())
    lay_programs(tmp_path / "dynamic", b"\x7fELF.../lib64/ld-linux-x86-64.so.2")
    monkeypatch.setattr(machine, "_PROGRAMS", str(tmp_path / "dynamic"))
    assert "busybox is not the static one" in str(machine.missing())
    lay_programs(tmp_path / "static", b"\x7fELF")
    monkeypatch.setattr(machine, "_PROGRAMS", str(tmp_path / "static"))
    monkeypatch.setattr(machine, "PLACES", (tmp_path / "unpacked", tmp_path / "own"))
    assert "there is no stock kernel" in str(machine.missing())
    # One without VRFs is of no use; the one that was unpacked goes before the machine's own.
    machine.kernel.cache_clear()
    lay(tmp_path / "own", "fs/9p/9p.ko", "net/8021q/8021q.ko")
    assert machine.kernel() is None
    machine.kernel.cache_clear()
    lay(tmp_path / "unpacked", "fs/9p/9p.ko", "net/8021q/8021q.ko.xz", "drivers/net/vrf.ko.xz")
    assert machine.missing() is None
    assert machine.kernel() == (
        tmp_path / "unpacked/boot/vmlinuz-6.1.0-9-amd64",
        tmp_path / "unpacked",
        "6.1.0-9-amd64",
    )
