"""The layout is tested as well: import layers, a test file for each module, names that are ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fixtures
import suricata

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "reassembly", "suricata", "tap", "diversion")


def _modules() -> list[Path]:
    return [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.stem.startswith("__")
    ]


def test_the_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_packages_whose_names_are_also_in_the_registry_are_ours() -> None:
    assert suricata.__file__ is not None
    assert fixtures.__file__ is not None
    assert Path(suricata.__file__).parent == ROOT / "suricata"
    assert Path(fixtures.__file__).parent == ROOT / "fixtures"


@pytest.mark.parametrize("module", _modules(), ids=str)
def test_every_module_has_a_test_file(module: Path) -> None:
    assert (ROOT / "tests" / module.with_name(f"test_{module.name}")).is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_its_parts_are(package: str) -> None:
    text = (ROOT / package / "__init__.py").read_text()
    assert text.startswith('"""')


def test_no_source_file_is_too_long_to_hold_in_the_head() -> None:
    sources = [*ROOT.glob("core/src/**/*.rs"), *ROOT.glob("core/tests/**/*.rs")]
    for package in (*PACKAGES, "fixtures", "bench", "tests"):
        sources += (ROOT / package).rglob("*.py")
    lengths = {path: len(path.read_text().splitlines()) for path in sources}
    assert {str(path): length for path, length in lengths.items() if length > 600} == {}
