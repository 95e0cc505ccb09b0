"""Connections do not influence one another: what comes out of each is what comes out when it runs
alone, however their packets interleave.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peeltap_core import Engine

from tests.property.strategies import Case, Header, conversation, header
from tests.support.conversation import Disturbance, disturb
from tests.support.driver import Driver, configure
from tests.support.legs import LEG4
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


def engine(mode: str) -> Engine:
    return Engine(configure(mode=mode))


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(crowd=crowds(), data=st.data())
def test_interleaved_connections_come_out_as_if_alone(
    mode: str, crowd: list[Case], data: st.DataObject
) -> None:
    alone = [Driver(engine(mode)).run(case.frames) for case in crowd]
    queues = [list(case.frames) for case in crowd]
    driver = Driver(engine(mode))
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
    assert len(driver.take_records()) == len(crowd)


@st.composite
def sequels(draw: st.DrawFn) -> list[Case]:
    """Uses of one port after another, each for another peer."""
    uses = []
    for n in range(draw(st.integers(2, 4))):
        head = draw(header(peer_port=1000 + n))
        isn = n * 2**29 + draw(st.integers(0, 2**28))
        talk = draw(conversation(raw=head.raw, legs=(LEG4,), client_isn=isn))
        uses.append(Case(head, talk, talk.captured))
    return uses


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(uses=sequels())
def test_connections_that_follow_on_one_port_come_out_as_if_alone(
    mode: str, uses: list[Case]
) -> None:
    alone = [frame for case in uses for frame in Driver(engine(mode)).run(case.frames)]
    driver = Driver(engine(mode))
    together = driver.run([frame for case in uses for frame in case.frames])
    assert together == alone
    records = driver.take_records()
    assert sorted(record["epoch"] for record in records) == list(range(len(uses)))


@pytest.mark.parametrize("mode", ["strip", "restore"])
@given(
    crowd=crowds(),
    limits=st.fixed_dictionaries(
        {"connections": st.integers(1, 3), "half_open": st.integers(1, 3)},
        optional={"hold_packets": st.integers(1, 8), "fragments": st.integers(1, 4)},
    ),
    data=st.data(),
)
def test_tables_too_small_for_the_crowd_lose_no_packet_silently(
    mode: str, crowd: list[Case], limits: dict[str, int], data: st.DataObject
) -> None:
    """Evicted connections go on as unknown ones; `Driver` asserts the accounts."""
    driver = Driver(Engine(configure(mode=mode, limits=limits)))
    queues = [list(case.frames) for case in crowd]
    turns = data.draw(st.lists(st.integers(0, len(crowd) - 1), max_size=60), "turns")
    for turn in [*turns, *(n for n, queue in enumerate(queues) for _ in queue)]:
        if queues[turn]:
            driver.push(queues[turn].pop(0))
            assert driver.stats["tracked"] <= limits["connections"] + limits["half_open"]
            if data.draw(st.integers(0, 9)) == 0:
                driver.wait(data.draw(st.sampled_from([0.5, 4, 61, 4000])))
    driver.finish()
    assert len(driver.take_records()) >= len(crowd)
