"""Local ports: in turn, once for each decoy, and those of others left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from diversion.snat import ports as module
from diversion.snat.ports import Ports, usable

DECOY, OTHER = ("192.0.2.2", 80), ("192.0.2.2", 22)


def test_each_rests_as_long_as_there_are_others() -> None:
    ports = Ports(lambda: [1, 2, 3, 4])
    taken = []
    for _ in range(8):
        port = ports.take(DECOY)
        taken.append(port)
        ports.give(port, DECOY)
    assert sorted(taken[:4]) == [1, 2, 3, 4]
    assert taken[4:] == taken[:4]


def test_a_port_serves_one_connection_to_each_decoy() -> None:
    ports = Ports(lambda: [1, 2, 3])
    assert sorted(ports.take(DECOY) for _ in range(3)) == [1, 2, 3]
    with pytest.raises(OSError, match="all local ports are in use to this decoy"):
        ports.take(DECOY)
    assert sorted(ports.take(OTHER) for _ in range(3)) == [1, 2, 3]
    ports.give(2, DECOY)
    ports.give(2, DECOY)
    assert ports.take(DECOY) == 2
    with pytest.raises(OSError, match="all local ports"):
        ports.take(DECOY)


def test_a_range_that_was_changed_counts_from_the_next_turn() -> None:
    ranges = [[1, 2], [7, 8, 9]]
    ports = Ports(lambda: ranges[0])
    del ranges[0]
    taken = []
    for _ in range(5):
        taken.append(ports.take(DECOY))
        ports.give(taken[-1], DECOY)
    assert set(taken[:2]) & {1, 2}
    assert {7, 8, 9} <= set(taken) <= {1, 2, 7, 8, 9}


@pytest.mark.parametrize(
    ("span", "reserved", "found"),
    [
        ("32768\t60999", "", None),
        ("30 36", "", [30, 31, 33, 34, 35, 36]),
        ("30 36", "31,34-35", [30, 33, 36]),
        ("32 32", "", [32]),
        ("nonsense", "", None),
    ],
)
def test_the_range_is_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, span: str, reserved: str, found: object
) -> None:
    monkeypatch.setattr(module, "_SYSCTL", tmp_path)
    (tmp_path / "ip_local_port_range").write_text(f"{span}\n")
    (tmp_path / "ip_local_reserved_ports").write_text(f"{reserved}\n")
    all_ports = list(usable())
    if found is not None:
        assert all_ports == found
        return
    assert all_ports == [port for port in range(32_768, 61_000) if port % 16]
