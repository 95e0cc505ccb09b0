"""Programs run as an ordinary user: ``python -m tests.support.ordinary MODE PROGRAM ARGUMENT...``.

Root becomes nobody, with no group and no capability. Where checkout or Python lie under a directory
that only root may enter, such as /root, nobody gets a view of it (a mount namespace of its own) in
which just those are, and one of /dev/net/tun, with MODE (octal): 666 as on most machines, 600 where
nobody but root makes a tap. Somebody who is no root stays who he is, where he is.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from diversion import kernel

NOBODY = 65534
ROOT = Path(__file__).resolve().parents[2]


def command(argv: Sequence[str | Path], *, makes_taps: bool = True) -> list[str]:
    """What to run, in the checkout, so that an ordinary user runs ``argv``."""
    if os.geteuid() != 0:
        return [*map(str, argv)]
    mode = "666" if makes_taps else "600"
    return [sys.executable, "-m", "tests.support.ordinary", mode, *map(str, argv)]


def in_world(module: str, function: str, *, makes_taps: bool = True) -> str:
    """What ``function(world)`` of the module prints, in a world that an ordinary user makes."""
    lives = (
        "import importlib, sys, tempfile\n"
        "from pathlib import Path\n"
        "from diversion.namespaces import run_world\n"
        f"main = getattr(importlib.import_module({module!r}), {function!r})\n"
        "with tempfile.TemporaryDirectory() as place:\n"
        "    sys.exit(run_world(main, Path(place)))\n"
    )
    argv = command([sys.executable, "-c", lives], makes_taps=makes_taps)
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _blocked(path: Path) -> Path | None:
    """The outermost directory above ``path`` that others may not enter."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & 0o001:
            return parent
    return None


def _show(paths: set[Path]) -> None:
    """Puts a view over each blocked directory, in which only ``paths`` are."""
    wanted: dict[Path, list[tuple[Path, int]]] = {}
    for path in sorted(paths):
        if (over := _blocked(path)) is not None:
            wanted.setdefault(over, []).append((path, os.open(path, os.O_PATH)))
    for over, inside in wanted.items():
        kernel.mount("view", over, "tmpfs")
        over.chmod(0o755)
        for path, fd in inside:
            path.mkdir(parents=True, exist_ok=True)
            kernel.mount(f"/proc/self/fd/{fd}", path, None, kernel.MS_BIND | kernel.MS_REC)
            os.close(fd)


def main() -> None:
    """Becomes the program."""
    mode, *argv = sys.argv[1:]
    os.umask(0o022)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    _show({Path(place).resolve() for place in (ROOT, sys.prefix, sys.base_prefix)})
    kernel.mount("view", "/dev/net", "tmpfs")
    # linux/miscdevice.h: MISC_MAJOR 10, TUN_MINOR 200.
    os.mknod("/dev/net/tun", stat.S_IFCHR, os.makedev(10, 200))
    Path("/dev/net/tun").chmod(int(mode, 8))
    home = tempfile.gettempdir()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kernel.die_with_parent()
    # The directory is looked up anew, in the view.
    os.chdir(ROOT)
    os.execvpe(argv[0], argv, {**os.environ, "HOME": home, "PYTHONDONTWRITEBYTECODE": "1"})


if __name__ == "__main__":
    main()
