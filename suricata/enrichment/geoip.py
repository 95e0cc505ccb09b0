"""Where an attacker's address is, and whose: MaxMind's database files.

A file is copied into memory before it is opened. Its reader maps it, and an update that writes into
the mapped file, or cuts it, would end the process.

Source: the MaxMind DB format (https://maxmind.github.io/MaxMind-DB/) and the members of the City,
Country and ASN databases; what comes out has the names of ECS's `geo` and `as`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import maxminddb

from .settings import GeoipSettings
from .watched import EnrichmentError, Watched

MAX_FILE_BYTES: Final = 1 << 30
MAX_ANSWERS: Final = 1 << 14

_PIECE: Final = 8 << 20


class Geoip:
    """Answers by address, remembered while the files do not change."""

    def __init__(self, settings: GeoipSettings) -> None:
        self._city = None if settings.city is None else Watched(settings.city, open_database)
        self._asn = None if settings.asn is None else Watched(settings.asn, open_database)
        self._answers: dict[str, dict[str, Any]] = {}
        self._broken: str | None = None

    def find(self, ip: str) -> dict[str, Any]:
        """`geo` and `as` of an address, as far as they are known."""
        answer = self._answers.get(ip)
        if answer is None:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            answer = self._answers[ip] = self._ask(ip)
        return answer

    def refresh(self, now: float) -> None:
        """Read the files again if they have changed."""
        for file in (self._city, self._asn):
            if file is not None and file.refresh(now):
                self._answers.clear()
                self._broken = None

    @property
    def trouble(self) -> str | None:
        """What is wrong with the files, if anything is."""
        files = (self._city, self._asn)
        told = [file.trouble for file in files if file is not None and file.trouble is not None]
        return told[0] if told else self._broken

    def _ask(self, ip: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        city, asn = self._record(self._city, ip), self._record(self._asn, ip)
        place = _geo(city)
        if place:
            out["geo"] = place
        system = _as(asn)
        if system:
            out["as"] = system
        return out

    def _record(self, file: Watched[maxminddb.Reader] | None, ip: str) -> dict[str, Any]:
        if file is None:
            return {}
        try:
            found = file.value.get(ip)
        except maxminddb.InvalidDatabaseError:
            self._broken = f"{file.path} is damaged; fetch it anew"
            return {}
        except ValueError:
            return {}  # an IPv6 address, and a file of IPv4
        return found if isinstance(found, dict) else {}


def open_database(path: Path) -> maxminddb.Reader:
    """A reader of the file's copy in memory; raises EnrichmentError."""
    try:
        with path.open("rb") as file:
            memory = os.memfd_create("geoip")
            try:
                copied = 0
                while piece := file.read(_PIECE):
                    copied += len(piece)
                    if copied > MAX_FILE_BYTES:
                        raise EnrichmentError(
                            f"{path} has more than {MAX_FILE_BYTES >> 30} GiB; name a smaller one"
                        )
                    _write(memory, piece)
                return maxminddb.open_database(f"/proc/self/fd/{memory}")
            finally:
                os.close(memory)
    except OSError as error:
        raise EnrichmentError(
            f"{path} cannot be read ({error.strerror}); make it readable, or name another"
        ) from None
    except (maxminddb.InvalidDatabaseError, ValueError):
        raise EnrichmentError(
            f"{path} is no MaxMind database, or a damaged one; fetch it anew"
        ) from None


def _write(fd: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _geo(record: dict[str, Any]) -> dict[str, Any]:
    country, continent = _object(record, "country"), _object(record, "continent")
    parts = record.get("subdivisions")
    region = parts[0] if isinstance(parts, list) and parts and isinstance(parts[0], dict) else {}
    where = _object(record, "location")
    code, sub = country.get("iso_code"), region.get("iso_code")
    out = {
        "continent_code": continent.get("code"),
        "continent_name": _name(continent),
        "country_iso_code": code,
        "country_name": _name(country),
        "region_iso_code": f"{code}-{sub}" if code and sub else None,
        "region_name": _name(region),
        "city_name": _name(_object(record, "city")),
        "postal_code": _object(record, "postal").get("code"),
        "timezone": where.get("time_zone"),
    }
    out = {key: value for key, value in out.items() if isinstance(value, str)}
    lat, lon = where.get("latitude"), where.get("longitude")
    if isinstance(lat, float) and isinstance(lon, float):
        return {**out, "location": {"lat": lat, "lon": lon}}
    return out


def _as(record: dict[str, Any]) -> dict[str, Any]:
    number, name = (
        record.get("autonomous_system_number"),
        record.get("autonomous_system_organization"),
    )
    out: dict[str, Any] = {}
    if isinstance(number, int):
        out["number"] = number
    if isinstance(name, str):
        out["organization"] = {"name": name}
    return out


def _object(record: dict[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _name(place: dict[str, Any]) -> object:
    return _object(place, "names").get("en")
