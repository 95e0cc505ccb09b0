"""The output that workers share: opened anew once, whoever sees it first."""

import pytest

from pipeline.outlet import RETRY_SECONDS, Opened, Outlet
from tests.support.ways import ScriptedOutput


class Device:
    """What can be opened in turn, or the sentence why not."""

    def __init__(self, *answers: ScriptedOutput | str) -> None:
        self.answers = list(answers)

    def __call__(self, before: Opened | None) -> Opened:
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise ValueError(answer)
        return answer


def test_each_worker_has_its_place() -> None:
    outlet = Outlet(Device(ScriptedOutput([7, 8])), ValueError, lambda new: None)
    assert outlet.place(0) == (1, 7, "tap")
    assert outlet.place(1) == (1, 8, "tap")
    assert outlet.status() == {"name": "vtap0", "kind": "tap", "renewed": 0}


def test_one_worker_opens_anew_and_the_others_follow() -> None:
    old, new = ScriptedOutput([7, 8]), ScriptedOutput([9, 10])
    renewed: list[Opened] = []
    now = 100.0
    outlet = Outlet(Device(old, new), ValueError, renewed.append, lambda: now)
    assert outlet.renew(0, 1) == (2, 9, "tap")
    assert outlet.renew(1, 1) == (2, 10, "tap")
    assert old.closed
    assert renewed == [new]
    assert outlet.status()["renewed"] == 1


def test_what_was_adopted_has_its_listener_still() -> None:
    renewed: list[Opened] = []
    devices = Device(ScriptedOutput([7]), ScriptedOutput([9], adopted=True))
    outlet = Outlet(devices, ValueError, renewed.append, lambda: 100.0)
    assert outlet.renew(0, 1) == (2, 9, "tap")
    assert renewed == []


def test_what_cannot_be_opened_is_tried_again_later() -> None:
    now = 100.0
    devices = Device(ScriptedOutput([7]), "vtap0 is somebody else's", ScriptedOutput([9]))
    outlet = Outlet(devices, ValueError, lambda new: None, lambda: now)
    assert outlet.renew(0, 1) is None
    assert outlet.check() == ["vtap0 is somebody else's"]
    # Not again at once.
    assert outlet.renew(0, 1) is None
    now += RETRY_SECONDS
    assert outlet.renew(0, 1) == (2, 9, "tap")
    assert outlet.check() == []


def test_what_cannot_be_opened_first_is_an_error() -> None:
    with pytest.raises(ValueError, match="no tun"):
        Outlet(Device("no tun"), ValueError, lambda new: None)


def test_the_end_is_the_outputs_own() -> None:
    output = ScriptedOutput([7])
    output.complaints = ["vtap0 has an address"]
    outlet = Outlet(Device(output), ValueError, lambda new: None)
    assert outlet.check() == ["vtap0 has an address"]
    outlet.remove()
    assert output.removed
