"""What clients are asked for: which of ours can do what, and what their exceptions carry."""

from __future__ import annotations

from pathlib import Path

from suricata.sinks.client import DurableClient, LineClient, Partly, Rejected, Unavailable
from suricata.sinks.file import FileClient
from suricata.sinks.stdout import StdoutClient

from ..delivery.parts import Told


def test_who_takes_lines_and_who_can_make_them_safe() -> None:
    file, out, told = FileClient(Path("/absent")), StdoutClient(), Told()
    assert [isinstance(one, LineClient) for one in (file, out, told)] == [True, True, False]
    assert [isinstance(one, DurableClient) for one in (file, out, told)] == [True, False, False]


def test_what_an_answer_carries() -> None:
    assert (str(Unavailable("why")), Unavailable("why").retry_after) == ("why", None)
    assert Unavailable("why", retry_after=3).retry_after == 3
    partly = Partly("why", taken={1}, rejected=(Rejected(0, "bad"),))
    assert (partly.taken, partly.rejected[0].reason, partly.retry_after) == ({1}, "bad", None)
