"""The `tap:` section: what is allowed, what follows from it."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest
from pydantic import ValidationError

from tap.settings import MAX_MTU, TapSettings

REFUSED = [
    ({"name": ""}, "1 to 15 bytes"),
    ({"name": "a" * 16}, "1 to 15 bytes"),
    ({"name": "ü" * 8}, "1 to 15 bytes"),
    ({"name": ".."}, "no spaces, /, : or %"),
    ({"name": "a/b"}, "no spaces, /, : or %"),
    ({"name": "tap%d"}, "no spaces, /, : or %"),
    ({"name": "a b"}, "no spaces, /, : or %"),
    ({"name": "a\0"}, "no spaces, /, : or %"),
    ({"name": "all"}, "cannot be the name"),
    ({"interface": "eth0:1"}, "no spaces, /, : or %"),
    ({"interface": "eth0", "name": "vtap0"}, "name is of a tap that is made"),
    ({"interface": "eth0", "mtu": 1500}, "mtu is of a tap that is made"),
    ({"interface": "eth0", "persistent": True}, "persistent is of a tap"),
    ({"mtu": MAX_MTU + 1}, "less than or equal to 65521"),
    ({"mtu": 67}, "greater than or equal to 68"),
    ({"owner": "no-such-user"}, "this machine knows no user 'no-such-user'"),
    ({"owner": -1}, "this machine knows no user -1"),
    ({"group": "no-such-group"}, "this machine knows no group 'no-such-group'"),
    ({"superframes": "cut"}, "'keep' or 'segment'"),
    ({"nmae": "vtap0"}, "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("section", "words"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TapSettings(**section)
    [error] = caught.value.errors()
    assert words in error["msg"]


def test_defaults_are_a_persistent_tap() -> None:
    settings = TapSettings()
    assert (settings.device, settings.persistent) == ("vtap0", True)
    assert (settings.owner_id(), settings.group_id()) == (None, None)


def test_an_existing_interface() -> None:
    assert TapSettings(interface="veth9", superframes="segment").device == "veth9"


@pytest.mark.parametrize(
    ("section", "of_file", "engine"),
    [(None, "keep", "keep"), (None, "segment", "segment"), ("keep", "segment", "keep")],
)
def test_superframes_of_the_tap_come_before_those_of_the_file(
    section: Any, of_file: Any, engine: str
) -> None:
    assert TapSettings(superframes=section).engine_superframes(of_file) == engine


def test_users_by_name_and_number() -> None:
    me = pwd.getpwuid(os.geteuid())
    assert TapSettings(owner=me.pw_name).owner_id() == me.pw_uid
    assert TapSettings(owner=1234, group=5678).owner_id() == 1234
    assert TapSettings(group=5678).group_id() == 5678
    assert TapSettings(group="root").group_id() == 0
