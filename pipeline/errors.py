"""What a command says when it cannot go on.

PeeltapError        one clear message for the person at the terminal
├── UsageError      wrong use or configuration: exit code 2
└── RunError        what was asked for could not be done: exit code 1
"""

from __future__ import annotations


class PeeltapError(Exception):
    """A message for a person; no traceback follows it."""

    exit_code = 1


class UsageError(PeeltapError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """The file cannot be used; `lines` has one complete message for each mistake, in file order."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class RunError(PeeltapError):
    """The work failed."""
