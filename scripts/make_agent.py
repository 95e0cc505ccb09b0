"""Builds peeltap-agent.pyz: the agent as one file, for machines that have nothing but Python 3.9.

python scripts/make_agent.py [FILE]        default: build/peeltap-agent.pyz
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipapp
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("proxy", "agent")

_MAIN = """\
import sys

from diversion.agent.__main__ import main

sys.exit(main())
"""


def build(target: Path) -> None:
    """Write the archive; it holds the agent's packages and nothing else."""
    with tempfile.TemporaryDirectory() as temporary:
        stage = Path(temporary)
        package = stage / "diversion"
        package.mkdir()
        shutil.copy(ROOT / "diversion/__init__.py", package)
        for part in PARTS:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "diversion" / part, package / part, ignore=ignore)
        (stage / "__main__.py").write_text(_MAIN)
        target.parent.mkdir(parents=True, exist_ok=True)
        zipapp.create_archive(stage, target, interpreter="/usr/bin/env python3", compressed=True)


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/peeltap-agent.pyz"
    build(file)
    print(f"{file}: {file.stat().st_size} bytes")
