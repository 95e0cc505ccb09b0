"""The play: what it consists of, and that it is played to its end or its failure is named."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace

import pytest

from diversion.namespaces import NamespaceError, World
from pipeline.demo import attacks, network
from pipeline.demo.attacks import GUESSES, LOGINS, STEPS, Step
from pipeline.demo.network import OUTSIDE, SERVICES
from tests.pipeline.conftest import RULES
from tests.support import ordinary


def test_the_signatures_are_those_of_the_rules() -> None:
    told = re.findall(r'msg:"([^"]+)".*sid:(\d+);', RULES.read_text())
    names = {int(sid): name for name, sid in told}
    words = {
        "HTTP path traversal": "traversal",
        "log4j in a header": "log4j",
        "SSH attack tool": "brute-force",
        "TLS, internal name": "TLS server name",
        "password guessing": "five logins",
        "SMTP user probe": "VRFY",
    }
    for step in STEPS:
        if isinstance(step.expected, int):
            assert words[step.what] in names[step.expected]


def test_no_two_connections_look_alike() -> None:
    assert len({(step.source, step.target) for step in STEPS}) == len(STEPS)


def test_all_there_is_takes_part() -> None:
    assert {step.who for step in STEPS} == set(OUTSIDE)
    assert {step.target for step in STEPS} == {service.decoy for service in SERVICES}
    assert Counter(step.expected for step in STEPS)[LOGINS] == GUESSES


def idle(world: World) -> int:
    """Two steps that do nothing, then one that fails."""
    spaces = dict.fromkeys(OUTSIDE, world.host)
    step = Step("nothing", "visitor", 1, ("192.0.2.1", 80), ("true",), "http")
    fails = replace(step, what="trouble", argv=("sh", "-c", "echo it broke >&2; exit 3"))
    attacks.STEPS = (step, step, replace(fails, ok=(3,)), fails)  # type: ignore[misc]
    began = time.monotonic()
    try:
        attacks.play(network.Network(world, spaces), 0.4, lambda one: print(one.what, flush=True))
    except NamespaceError as error:
        print(error)
    # No earlier than the pace that was asked for.
    print(time.monotonic() - began >= 0.3)
    return 0


@pytest.mark.netns
def test_a_client_that_fails_is_named() -> None:
    assert ordinary.in_world(__name__, "idle").splitlines() == [
        "nothing",
        "nothing",
        "trouble",
        "trouble",
        "trouble: sh ended with 3: it broke",
        "True",
    ]
