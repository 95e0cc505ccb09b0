from __future__ import annotations

from pathlib import Path

import pytest

from suricata.enrichment.geoip import Geoip, open_database
from suricata.enrichment.settings import GeoipSettings
from suricata.enrichment.watched import EnrichmentError

from .databases import BREDBAND, LINKOPING, write

PLACE = {
    "continent_code": "EU",
    "continent_name": "Europe",
    "country_iso_code": "SE",
    "country_name": "Sweden",
    "region_iso_code": "SE-E",
    "region_name": "Östergötland County",
    "city_name": "Linköping",
    "postal_code": "582 22",
    "timezone": "Europe/Stockholm",
    "location": {"lat": 58.4167, "lon": 15.6167},
}


def files(directory: Path) -> Geoip:
    city = write(directory / "city.mmdb", "GeoLite2-City", {"203.0.113.0/24": LINKOPING})
    asn = write(directory / "asn.mmdb", "GeoLite2-ASN", {"203.0.112.0/20": BREDBAND})
    return Geoip(GeoipSettings(city=city, asn=asn))


def test_an_address_is_somewhere_and_somebodys(tmp_path: Path) -> None:
    geoip = files(tmp_path)
    system = {"number": 29518, "organization": {"name": "Bredband2 AB"}}
    assert geoip.find("203.0.113.7") == {"geo": PLACE, "as": system}
    assert geoip.find("203.0.112.7") == {"as": system}
    assert geoip.find("10.0.0.1") == {}
    assert geoip.find("2001:db8::1") == {}
    assert geoip.trouble is None


def test_a_new_file_is_read_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    geoip = files(tmp_path)
    city = tmp_path / "city.mmdb"
    assert "city_name" in geoip.find("203.0.113.7")["geo"]
    write(city, "GeoLite2-City", {"203.0.113.0/24": {"country": {"iso_code": "FI"}}})
    geoip.refresh(100)
    assert geoip.find("203.0.113.7")["geo"] == {"country_iso_code": "FI"}
    # An update that writes into the file: what is in memory is not touched by it.
    whole = city.read_bytes()
    city.write_bytes(whole[:40])
    assert geoip.find("203.0.113.8")["geo"] == {"country_iso_code": "FI"}
    geoip.refresh(200)
    assert geoip.trouble is not None
    assert "no MaxMind database" in geoip.trouble
    assert geoip.find("203.0.113.9")["geo"] == {"country_iso_code": "FI"}
    city.unlink()
    geoip.refresh(300)
    assert "is gone" in str(geoip.trouble)
    city.write_bytes(whole)
    geoip.refresh(400)
    assert geoip.trouble is None


def test_a_record_of_another_kind_adds_nothing(tmp_path: Path) -> None:
    odd = {"city": "x", "country": {"iso_code": 5}, "location": {"latitude": "n"}, "postal": []}
    city = write(tmp_path / "city.mmdb", "Odd", {"203.0.113.0/24": odd, "198.51.100.0/24": "text"})
    geoip = Geoip(GeoipSettings(city=city))
    assert geoip.find("203.0.113.7") == {}
    assert geoip.find("198.51.100.7") == {}


def test_a_file_of_ipv4_knows_no_ipv6(tmp_path: Path) -> None:
    city = write(tmp_path / "four.mmdb", "City", {"203.0.113.0/24": LINKOPING}, version=4)
    geoip = Geoip(GeoipSettings(city=city))
    assert geoip.find("2001:db8::1") == {}
    assert geoip.find("203.0.113.7")["geo"]["city_name"] == "Linköping"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "cannot be read .No such file"), (b"", "no MaxMind"), (b"x" * 5000, "no MaxMind")],
    ids=["absent", "empty", "other"],
)
def test_what_is_no_database_is_said_at_the_start(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "city.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EnrichmentError, match=expected):
        open_database(path)


def test_a_damaged_tree_is_a_trouble_and_no_exception(tmp_path: Path) -> None:
    city = write(tmp_path / "city.mmdb", "City", {"203.0.113.0/24": LINKOPING})
    data = bytearray(city.read_bytes())
    data[16 : data.rindex(b"\xab\xcd\xefMaxMind.com")] = b"\xff" * (
        data.rindex(b"\xab\xcd\xefMaxMind.com") - 16
    )
    city.write_bytes(bytes(data))
    geoip = Geoip(GeoipSettings(city=city))
    for low in range(256):
        assert geoip.find(f"203.0.{low}.7") == {}
