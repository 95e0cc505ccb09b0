"""Connections do not influence one another: what comes out of each is what comes out when it runs
alone, however their packets interleave.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peeltap_core import Engine

from tests.property.strategies import LEG4, Case, Header, conversation, header
from tests.support.conversation import Disturbance, disturb
from tests.support.driver import Driver, configure
from tests.support.packets import Leg

PLACES = (
    LEG4,
    LEG4.with_(client_port=40002),
    LEG4.with_(vlans=(7,)),
    LEG4.with_(vlans=(7, 7)),
    Leg(client="fd00:23::1", server="fd00:23::2"),
)


@st.composite
def crowds(draw: st.DrawFn) -> list[Case]:
    """Two to four conversations in different places, one in four of them plain."""
    crowd = []
    for place, leg in enumerate(draw(st.permutations(PLACES))[: draw(st.integers(2, 4))]):
        plain = draw(st.integers(0, 3)) == 0
        # Peers are of different ports: true addresses that collide are another matter.
        head = Header("none", b"", None) if plain else draw(header(peer_port=1000 + place))
        talk = draw(conversation(raw=head.raw, legs=(leg,)))
        entries = [Disturbance(draw(st.integers(0, 40)), delay=draw(st.integers(0, 5)))]
        crowd.append(Case(head, talk, disturb(talk.captured, entries, len(head.raw))))
    return crowd


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(crowd=crowds(), data=st.data())
def test_interleaved_connections_come_out_as_if_alone(
    mode: str, crowd: list[Case], data: st.DataObject
) -> None:
    alone = []
    for case in crowd:
        alone.append(Driver(Engine(configure(mode=mode))).run(case.frames))

    queues = [list(case.frames) for case in crowd]
    driver = Driver(Engine(configure(mode=mode)))
    owners = []
    turns = data.draw(st.lists(st.integers(0, len(crowd) - 1), max_size=60), "turns")
    for turn in [*turns, *(n for n, queue in enumerate(queues) for _ in queue)]:
        if queues[turn]:
            owners.append(turn)
            driver.push(queues[turn].pop(0))
    driver.finish()
    together: list[list[bytes]] = [[] for _ in crowd]
    for slot, frame in driver.emitted:
        together[owners[slot]].append(frame)
    assert together == alone
    verdicts = sorted(record["verdict"] for record in driver.take_records())
    assert len(verdicts) == len(crowd)
