"""A virtual machine with Debian's stock kernel and this machine's files.

    qemu ── kernel, initramfs (busybox, modules) ── 9p: this machine's /, read-only
                                                      └── .venv/bin/python -m tests.vm.inside
    serial ports: the console; what the scenarios told, a JSON object a line

Nothing of it outlives the process that boots it, needs root or a network. Without KVM, which not
every machine has, the processor is emulated.
"""

from __future__ import annotations

import compileall
import functools
import json
import platform
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from virtme import cpiowriter, mkinitramfs, modfinder

from tests.support.plumbing import ROOT

QEMU = "qemu-system-x86_64"
SECONDS = 1500.0
"""A bound, for a machine that is busy or hangs; it takes a tenth of that."""

MARKS: Final = [pytest.mark.vm, pytest.mark.xdist_group("vm"), pytest.mark.timeout(SECONDS + 60)]
"""Of every test that asks the machine: it boots once, in one worker, in its own time."""

# The kernel that `scripts/setup.sh` unpacked, or else one that this machine could itself boot.
UNPACKED = ROOT / ".venv/kernel"
PLACES = (UNPACKED, Path("/"))

_PACKAGES = (
    *("pipeline", "reassembly", "suricata", "tap", "diversion"),
    *("fixtures", "tests/support", "tests/vm"),
)

_PROGRAMS = "/usr/bin:/bin:/usr/sbin:/sbin"

# What carries the root file system, by name and by what the virtual bus calls its devices.
_CARRIERS = ("9p", "9pnet_virtio", "virtio_pci")
# All that the scenarios need, loaded before they begin: a module brings settings that would look
# like a trace of what loaded it.
_SUBJECTS = (
    *("8021q", "vrf", "bridge", "veth", "tun"),
    *("nf_tables", "nft_ct", "nft_nat", "nft_chain_nat", "nft_compat", "nf_conntrack_netlink"),
    *("xt_CT", "xt_NETMAP", "xt_nat", "xt_mark", "xt_connmark", "xt_conntrack", "xt_comment"),
    *("xt_multiport", "xt_tcpudp", "xt_set", "ip_set_hash_ipport"),
)

_INIT = """#!/bin/sh
mount -t proc none /proc
for module in {modules}; do insmod /modules/$module; done
options=ro,version=9p2000.L,trans=virtio,access=any,msize=524288,cache=loose
mount -t 9p -o $options root /newroot || exit 1
cd /newroot
mount -t proc none proc
mount -t sysfs none sys
mount -t devtmpfs none dev
mount -t tmpfs none run
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
umount /proc
exec switch_root /newroot /bin/sh -c {command}
"""


class MachineError(Exception):
    """The machine did not do its part; the text has the end of its console."""


@functools.cache
def kernel() -> tuple[Path, Path, str] | None:
    """The kernel's image, the root directory of its modules, and its version."""
    for root in PLACES:
        for image in sorted(root.glob("boot/vmlinuz-*"), reverse=True):
            version = image.name.removeprefix("vmlinuz-")
            modules = root / "lib/modules" / version
            if all(any(modules.glob(f"kernel/**/{one}.ko*")) for one in ("vrf", "9p", "8021q")):
                return image, root, version
    return None


def missing() -> str | None:
    """None if the machine can be booted here, otherwise the reason why not, as one clause."""
    if platform.machine() != "x86_64":
        return f"the virtual machine is for x86_64, and this is {platform.machine()}"
    for program in (QEMU, "busybox", "modprobe"):
        if shutil.which(program, path=_PROGRAMS) is None:
            return f"the program {program} is not installed; run make setup"
    # Alone in the machine's first files it finds no libraries; a loader is named near the front.
    if b"/ld-linux" in Path(str(shutil.which("busybox", path=_PROGRAMS))).read_bytes()[:4096]:
        return "the program busybox is not the static one (busybox-static); run make setup"
    if kernel() is None:
        return "there is no stock kernel with its modules for a virtual machine; run make setup"
    return None


def boot(directory: Path, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """Boot, run the scenarios, and give what they told; `directory` gets the machine's files.

    Raises MachineError if it did not end by itself, or told nothing.
    """
    found = kernel()
    if found is None:
        raise MachineError(missing())
    # Nothing can be written in there, and compiling is slow.
    for package in _PACKAGES:
        compileall.compile_dir(ROOT / package, quiet=2)
    image, root, version = found
    initramfs, console, told = (directory / name for name in ("initramfs", "console", "told"))
    _write_initramfs(initramfs, root, version)
    # One processor: emulating two that share memory costs more than the second one gives.
    argv = [
        *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "768"),
        *("-kernel", str(image), "-initrd", str(initramfs)),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr nowatchdog audit=0"),
        *("-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
        *("-serial", f"file:{console}", "-serial", f"file:{told}"),
    ]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise MachineError(f"it did not end in {seconds:g} s; {_end_of(console)}") from None
    if done.returncode != 0:
        raise MachineError(f"qemu: {done.stderr.decode(errors='replace').strip()}")
    lines = told.read_text().splitlines() if told.exists() else []
    if not lines:
        raise MachineError(f"it told nothing; {_end_of(console)}")
    return [json.loads(line) for line in lines]


def _write_initramfs(path: Path, root: Path, version: str) -> None:
    modules = modfinder.find_modules_from_install(
        [*_CARRIERS, *_SUBJECTS], root=str(root), kver=version
    )
    command = f"cd {shlex.quote(str(ROOT))} && exec .venv/bin/python -m tests.vm.inside"
    config = mkinitramfs.Config()
    config.busybox = mkinitramfs.find_busybox("/", is_native=True)
    with path.open("wb") as file:
        writer = cpiowriter.CpioWriter(file)
        mkinitramfs.make_base_layout(writer)
        mkinitramfs.make_dev_nodes(writer)
        mkinitramfs.install_busybox(writer, config)
        mkinitramfs.install_modules(writer, modules)
        names = " ".join(Path(module).name for module in modules)
        init = _INIT.format(modules=names, command=shlex.quote(command))
        writer.write_file(name=b"init", body=init.encode(), mode=0o755)
        writer.write_trailer()


def _end_of(console: Path) -> str:
    text = console.read_text(errors="replace") if console.exists() else ""
    return "its console ends with: " + " | ".join(text.splitlines()[-15:])
