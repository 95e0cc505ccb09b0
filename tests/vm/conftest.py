"""One virtual machine for all tests here, booted when the first of them begins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vm import machine


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each scenario told, by its name: its report, or why it failed."""
    lines = machine.boot(tmp_path_factory.mktemp("machine"))
    return {line["scenario"]: line.get("told", line.get("failed")) for line in lines}
