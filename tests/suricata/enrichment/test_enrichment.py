from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suricata.enrichment.enrichment import Enrichment
from suricata.enrichment.settings import EnrichmentSettings, GeoipSettings, Named, PeerSettings
from suricata.enrichment.watched import EnrichmentError
from suricata.shapes.ends import ends

from ..shapes.material import of
from .databases import BREDBAND, LINKOPING, write

ROLES = ends(of("fileinfo"))  # the attacker is 203.0.113.1
OURS = PeerSettings(addresses=["203.0.113.0/28"])
KNOWN = PeerSettings(addresses=["203.0.113.0/24"], then="drop")


def added(settings: EnrichmentSettings, **more: Any) -> dict[str, Any] | None:
    peeltap: dict[str, Any] = {}
    return peeltap if Enrichment(settings, **more).add(peeltap, ROLES) else None


def test_everything_at_once(tmp_path: Path) -> None:
    settings = EnrichmentSettings(
        decoys=[Named(name="web-1", addresses=["192.168.110.2"])],
        geoip=GeoipSettings(
            city=write(tmp_path / "city.mmdb", "City", {"203.0.113.0/24": LINKOPING}),
            asn=write(tmp_path / "asn.mmdb", "ASN", {"203.0.113.0/24": BREDBAND}),
        ),
        deny=PeerSettings(addresses=["203.0.113.1"]),
    )
    peeltap = added(settings, segments=[Named(name="dmz", addresses=["192.168.110.0/24"])])
    assert peeltap is not None
    assert peeltap["decoy"] == {"name": "web-1"}
    assert peeltap["segment"] == {"name": "dmz"}
    attacker = peeltap["attacker"]
    assert attacker["geo"]["city_name"] == "Linköping"
    assert attacker["as"]["number"] == 29518
    assert attacker["lists"] == ["deny"]


def test_what_was_written_by_hand_comes_before_the_topology() -> None:
    settings = EnrichmentSettings(decoys=[Named(name="mine", addresses=["192.168.110.2"])])
    theirs = [Named(name="theirs", addresses=["192.168.110.2"])]
    assert added(settings, decoys=theirs) == {"decoy": {"name": "mine"}}


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        (None, None, {}),
        (OURS, None, {"attacker": {"lists": ["allow"]}}),
        (OURS, KNOWN, {"attacker": {"lists": ["allow"]}}),
        (None, KNOWN, None),
        (OURS.model_copy(update={"then": "drop"}), None, None),
    ],
)
def test_lists(
    allow: PeerSettings | None, deny: PeerSettings | None, expected: dict[str, Any] | None
) -> None:
    assert added(EnrichmentSettings(allow=allow, deny=deny)) == expected


def test_what_is_dropped_is_counted_and_troubles_are_told(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("203.0.113.1\n")
    enrichment = Enrichment(EnrichmentSettings(deny=PeerSettings(file=path, then="drop")))
    assert not enrichment.add({}, ROLES)
    path.unlink()
    enrichment.refresh(1)
    status = enrichment.status()
    assert (status["dropped"], status["lists"]) == (1, {"deny": 1})
    assert status["reverse_dns"] is None
    [trouble] = status["troubles"]
    assert "is gone" in trouble


def test_an_absent_file_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(EnrichmentError, match=r"no\.mmdb cannot be read"):
        Enrichment(EnrichmentSettings(geoip=GeoipSettings(city=tmp_path / "no.mmdb")))


def test_a_name_that_is_not_known_yet_is_left_out() -> None:
    settings = EnrichmentSettings(reverse_dns=True, nameservers=["127.0.0.1"])
    enrichment = Enrichment(settings)
    peeltap: dict[str, Any] = {}
    assert enrichment.add(peeltap, ROLES)
    assert peeltap == {}
    assert enrichment.status()["reverse_dns"]["waiting"] == 1
    enrichment.start()
    enrichment.stop()
