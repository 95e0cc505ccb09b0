"""The map: what is drawn where, what was touched by whom, and its bounds."""

from pipeline.page.alerts import Touch
from pipeline.page.decoys import ATTACKERS, DRAWN, STRANGERS, Decoys
from suricata.enrichment.settings import Named

SEGMENTS = [
    Named(name="dmz", addresses=["192.168.110.0/24"]),
    Named(name="office", addresses=["10.0.0.0/8", "2001:db8::/32"]),
]
DECOYS = [
    Named(name="web-1", addresses=["192.168.110.2", "10.1.1.1"]),
    Named(name="files", addresses=["10.2.0.0/16"]),
    Named(name="lost", addresses=["198.51.100.1"]),
]


def touch(decoy: str, attacker: str | None = "203.0.113.7", *, alert: bool = False) -> Touch:
    return Touch(decoy, attacker, "2026-01-01T00:00:00.000000+0000", alert)


def boxes(decoys: Decoys) -> dict[str, dict[str, tuple[int, int]]]:
    """Alerts and connections of each decoy in its frame."""
    return {
        frame["name"]: {box["name"]: (box["alerts"], box["connections"]) for box in frame["decoys"]}
        for frame in decoys.as_dict()["frames"]
    }


def test_decoys_lie_in_their_segments() -> None:
    decoys = Decoys(DECOYS, SEGMENTS)
    nothing = (0, 0)
    assert boxes(decoys) == {
        "dmz": {"web-1": nothing},
        "office": {"files": nothing},
        "elsewhere": {"lost": nothing},
    }
    assert decoys.as_dict()["frames"][0]["decoys"][0]["addresses"] == ["192.168.110.2", "10.1.1.1"]


def test_touches_are_counted_where_they_belong() -> None:
    decoys = Decoys(DECOYS, SEGMENTS)
    decoys.touch([touch("10.1.1.1"), touch("192.168.110.2", alert=True), touch("10.2.3.4", None)])
    # Without a name, in a segment that is known, and in none.
    decoys.touch([touch("2001:db8::5"), touch("192.0.2.9", "203.0.113.8")])
    assert boxes(decoys) == {
        "dmz": {"web-1": (1, 1)},
        "office": {"files": (0, 1), "2001:db8::5": (0, 1)},
        "elsewhere": {"lost": (0, 0), "192.0.2.9": (0, 1)},
    }
    assert decoys.version == 5
    assert decoys.as_dict()["attackers"] == [
        {"ip": "203.0.113.8", "decoys": [4]},
        {"ip": "203.0.113.7", "decoys": [0, 3]},
    ]


def test_the_map_of_nothing() -> None:
    assert Decoys().as_dict() == {"frames": [], "attackers": [], "undrawn": 0, "others": 0}


def test_a_scan_does_not_grow_the_map_without_end() -> None:
    decoys = Decoys(
        [Named(name=f"d{n}", addresses=[f"10.0.{n // 250}.{n % 250}"]) for n in range(400)]
    )
    decoys.touch(touch(f"198.51.{n // 250}.{n % 250}", f"203.0.113.{n % 250}") for n in range(1000))
    told = decoys.as_dict()
    [frame] = told["frames"]
    assert len(frame["decoys"]) == DRAWN
    # What was touched comes before what was not.
    assert sum(box["connections"] for box in frame["decoys"]) == STRANGERS
    assert told["undrawn"] == 400 + STRANGERS - DRAWN
    assert told["others"] == 1000 - STRANGERS
    assert len(told["attackers"]) == ATTACKERS
