"""The Elastic Common Schema: source = attacker, destination = the decoy that was attacked.

The proxied leg, where there is one, is in `source.nat` and `destination.nat`. What ECS has a field
for moves there and is not repeated; everything else stays under `suricata.eve`, where Elastic's own
Suricata integration keeps it. What Peeltap adds is under `peeltap`.

Source: ECS 8.6 (https://github.com/elastic/ecs, `generated/csv/fields.csv`); later 8.x only add.
"""

from __future__ import annotations

from typing import Any, Final

from .ecs_fields import CATEGORIES, OBJECTS, ROOT, USERS, Field, refine
from .ends import Ends, ends
from .values import (
    Event,
    autonomous_system,
    child,
    date,
    filled,
    geo,
    ip,
    nanoseconds,
    number,
    put,
    text,
)

VERSION: Final = "8.6.0"

_OBSERVER: Final = {"vendor": "OISF", "product": "Suricata", "type": "ids"}
_DONE: Final = frozenset({"timestamp", "src_ip", "src_port", "dest_ip", "dest_port", "peeltap"})


def ecs(event: Event) -> Event:
    """The event as ECS has it; takes any object, never raises, changes nothing of it."""
    roles, kind = ends(event), event.get("event_type")
    out: Event = {"@timestamp": date(event.get("timestamp")), "ecs": {"version": VERSION}}
    if out["@timestamp"] is None:
        del out["@timestamp"]
    # 1. What it is.
    categories, types = CATEGORIES.get(kind if type(kind) is str else "", (["network"], ["info"]))
    out["event"] = {
        "kind": "alert" if kind == "alert" else "metric" if kind == "stats" else "event",
        "category": list(categories),
        "type": list(types),
        "module": "suricata",
        "dataset": "suricata.eve",
    }
    out["observer"] = dict(_OBSERVER)
    # 2. Who and whom.
    _sides(out, roles)
    _peeltap(out, child(event, "peeltap"), roles)
    # 3. What has a field, and what has none.
    rest: Event = {}
    for name, value in _moved(out, event, ROOT).items():
        fields = OBJECTS.get(name)
        if name in _DONE:
            continue
        if fields is None or type(value) is not dict:
            rest[name] = value
            continue
        left = _moved(out, value, fields)
        if left:
            rest[name] = left
    refine(out, event, roles.to_server)
    peeltap = child(event, "peeltap")
    if "count" in peeltap:
        # Alerts of a window that became one.
        _span(out, peeltap.get("first"), peeltap.get("last"))
    # A session's summary is ours, not Suricata's.
    if kind == "peeltap_session" and "summary" in rest:
        _summary(out, rest.pop("summary"))
    _related(out, event, roles)
    out["suricata"] = {"eve": rest}
    return out


def _moved(out: Event, holder: Event, fields: dict[str, Field]) -> Event:
    """Put members of `holder` where they belong; what is left of it comes back."""
    left: Event = {}
    for name, value in holder.items():
        field = fields.get(name)
        converted = None if field is None else field.convert(value)
        if field is None or converted is None:
            left[name] = value
        else:
            put(out, field.path, converted)
    return left


# --- Ends -----------------------------------------------------------------------------------------


def _sides(out: Event, roles: Ends) -> None:
    for name, end, leg in (
        ("source", roles.attacker, roles.leg_attacker),
        ("destination", roles.decoy, roles.leg_decoy),
    ):
        side: Event = {}
        if end.ip is not None:
            side["ip"] = side["address"] = end.ip
        if end.port is not None:
            side["port"] = end.port
        if roles.proxied and leg.ip is not None:
            side["nat"] = filled(ip=leg.ip, port=leg.port)
        if side:
            out[name] = side
    network: Event = {}
    if roles.proxied:
        network["direction"] = "inbound"
    if roles.attacker.ip is not None:
        network["type"] = "ipv6" if ":" in roles.attacker.ip else "ipv4"
    if network:
        out["network"] = network


def _peeltap(out: Event, peeltap: Event, roles: Ends) -> None:
    """What Peeltap added: a field of ECS where there is one, and all of it under `peeltap`."""
    if not peeltap:
        return
    own = {name: value for name, value in peeltap.items() if name not in ("observed", "direction")}
    put(out, ("event", "id"), text(own.pop("id", None)))
    attacker, decoy = child(own, "attacker"), child(own, "decoy")
    if attacker and roles.attacker.ip is not None:
        put(out["source"], ("geo",), geo(attacker.get("geo")))
        put(out["source"], ("as",), autonomous_system(attacker.get("as")))
        put(out["source"], ("domain",), text(attacker.get("domain")))
        left = {name: one for name, one in attacker.items() if name not in ("geo", "as", "domain")}
        own["attacker"] = left
        if not left:
            del own["attacker"]
    if decoy and roles.decoy.ip is not None:
        put(out["destination"], ("domain",), text(decoy.get("name")))
    out["peeltap"] = own


def _related(out: Event, event: Event, roles: Ends) -> None:
    """Everything of the event that one may want to find it by."""
    # Keys, for their order: no sets, no repeats.
    addresses: dict[str, None] = {}
    for end in (roles.attacker, roles.decoy, roles.leg_attacker, roles.leg_decoy):
        if end.ip is not None:
            addresses[end.ip] = None
    hosts: list[Any] = []
    hashes: list[Any] = []
    for place, name in _HOSTS:
        if place in out:
            hosts.append(out[place].get(name))
    if "dns" in out:
        addresses.update(dict.fromkeys(out["dns"].get("resolved_ip", ())))
        hosts.append(child(out["dns"], "question").get("name"))
    if "tls" in out:
        client, server = child(out["tls"], "client"), child(out["tls"], "server")
        hosts.append(client.get("server_name"))
        hashes += [client.get("ja3"), server.get("ja3s"), *child(server, "hash").values()]
    if "file" in out:
        hashes += child(out["file"], "hash").values()
    if "related" in out:
        addresses.update(dict.fromkeys(out["related"].get("ip", ())))
    users = [find(event[name]) for name, find in USERS.items() if type(event.get(name)) is dict]
    related: Event = {"ip": list(addresses)} if addresses else {}
    for name, found in (("hosts", hosts), ("hash", hashes), ("user", users)):
        told = dict.fromkeys(one for one in found if one)
        if told:
            related[name] = list(told)
    if related:
        out["related"] = related


_HOSTS: Final = (("url", "domain"), ("source", "domain"), ("destination", "domain"))


def _summary(out: Event, summary: object) -> None:
    """A session's own times and sums; see `suricata.sessions`."""
    if type(summary) is not dict:
        return
    _span(out, summary.get("first"), summary.get("last"))
    for name, side in (("bytes_to_server", "source"), ("bytes_to_client", "destination")):
        put(out, (side, "bytes"), number(summary.get(name)))
    listed = summary.get("decoys")
    decoys = [ip(child({"": one}, "").get("ip")) for one in listed] if type(listed) is list else []
    addresses = [address for address in decoys if address is not None]
    if addresses:
        put(out, ("related", "ip"), addresses)
    out.setdefault("peeltap", {})["summary"] = summary


def _span(out: Event, first: object, last: object) -> None:
    put(out, ("event", "start"), date(first))
    put(out, ("event", "end"), date(last))
    start, end = nanoseconds(first), nanoseconds(last)
    if start is not None and end is not None and end >= start:
        put(out, ("event", "duration"), end - start)
