"""Each error carries the exit code that goes with it."""

import pytest

from pipeline.errors import ConfigError, PeeltapError, RunError, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [(RunError("x"), 1), (UsageError("x"), 2), (ConfigError(["x"]), 2), (PeeltapError("x"), 1)],
)
def test_exit_codes(error: PeeltapError, code: int) -> None:
    assert error.exit_code == code
    assert str(error) == "x"


def test_a_config_error_has_a_line_for_each_mistake() -> None:
    error = ConfigError(["a:1: x", "a:2: y"])
    assert str(error) == "a:1: x\na:2: y"
    assert error.lines == ["a:1: x", "a:2: y"]
