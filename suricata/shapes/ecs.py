"""The Elastic Common Schema: source = attacker, destination = the decoy that was attacked.

The proxied leg, where there is one, is in `source.nat` and `destination.nat`. What ECS has a field
for moves there and is not repeated; everything else stays under `suricata.eve`, where Elastic's own
Suricata integration keeps it. What Peeltap adds is under `peeltap`.

Source: ECS 8.6 (https://github.com/elastic/ecs, `generated/csv/fields.csv`); later 8.x only add.
"""

from __future__ import annotations

from typing import Any, Final

from .ecs_fields import CATEGORIES, OBJECTS, ROOT, USERS, Field, refine
from .ends import End, Ends, ends
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
    for name, value in event.items():
        if name in _DONE:
            continue
        fields = OBJECTS.get(name)
        if fields is not None and type(value) is dict:
            left = _moved(out, value, fields)
            if left:
                rest[name] = left
        elif not _move(out, ROOT.get(name), value):
            rest[name] = value
    refine(out, event, roles.to_server)
    # A session's summary is ours, not Suricata's.
    if kind == "peeltap_session" and "summary" in rest:
        _summary(out, rest.pop("summary"))
    _related(out, event, roles)
    out["suricata"] = {"eve": rest}
    return out


def _move(out: Event, field: Field | None, value: Any) -> bool:
    if field is None:
        return False
    converted = field.convert(value)
    if converted is None:
        return False
    put(out, field.path, converted)
    return True


def _moved(out: Event, holder: Event, fields: dict[str, Field]) -> Event:
    """Put members of `holder` where they belong; what is left of it comes back."""
    return {
        name: value for name, value in holder.items() if not _move(out, fields.get(name), value)
    }


# --- Ends -----------------------------------------------------------------------------------------


def _sides(out: Event, roles: Ends) -> None:
    source, destination = _side(roles.attacker), _side(roles.decoy)
    if roles.proxied:
        put(source, ("nat",), _side(roles.leg_attacker, address=False) or None)
        put(destination, ("nat",), _side(roles.leg_decoy, address=False) or None)
    if source:
        out["source"] = source
    if destination:
        out["destination"] = destination
    if roles.proxied:
        put(out, ("network", "direction"), "inbound")
    if roles.attacker.ip is not None:
        put(out, ("network", "type"), "ipv6" if ":" in roles.attacker.ip else "ipv4")


def _side(end: End, *, address: bool = True) -> Event:
    return filled(ip=end.ip, address=end.ip if address else None, port=end.port)


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
    sides = (roles.attacker, roles.decoy, roles.leg_attacker, roles.leg_decoy)
    addresses = dict.fromkeys(end.ip for end in sides if end.ip is not None)
    addresses.update(dict.fromkeys(child(out, "related").get("ip", ())))
    addresses.update(dict.fromkeys(child(out, "dns").get("resolved_ip", ())))
    if addresses:
        put(out, ("related", "ip"), list(addresses))
    hosts = [
        child(out, place).get(name)
        for place, name in (("url", "domain"), ("source", "domain"), ("destination", "domain"))
    ]
    hosts.append(child(child(out, "tls"), "client").get("server_name"))
    hosts.append(child(child(out, "dns"), "question").get("name"))
    named = dict.fromkeys(name for name in hosts if name)
    if named:
        put(out, ("related", "hosts"), list(named))
    hashes = [*child(child(out, "file"), "hash").values()]
    tls = child(out, "tls")
    hashes += [child(tls, "client").get("ja3"), child(tls, "server").get("ja3s")]
    hashes += [*child(child(tls, "server"), "hash").values()]
    seen = dict.fromkeys(value for value in hashes if value)
    if seen:
        put(out, ("related", "hash"), list(seen))
    users = [text(child(event, holder).get(name)) for holder, name in USERS]
    if child(event, "ftp").get("command") == "USER":
        users.append(text(child(event, "ftp").get("command_data")))
    users.append(text(child(child(event, "smb"), "ntlmssp").get("user")))
    users.append(text(child(child(event, "mqtt"), "connect").get("username")))
    told = dict.fromkeys(user for user in users if user)
    if told:
        put(out, ("related", "user"), list(told))


def _summary(out: Event, summary: object) -> None:
    """A session's own times and sums; see `suricata.sessions`."""
    if type(summary) is not dict:
        return
    first, last = nanoseconds(summary.get("first")), nanoseconds(summary.get("last"))
    put(out, ("event", "start"), date(summary.get("first")))
    put(out, ("event", "end"), date(summary.get("last")))
    if first is not None and last is not None and last >= first:
        put(out, ("event", "duration"), last - first)
    for name, side in (("bytes_to_server", "source"), ("bytes_to_client", "destination")):
        put(out, (side, "bytes"), number(summary.get(name)))
    listed = summary.get("decoys")
    decoys = [ip(child({"": one}, "").get("ip")) for one in listed] if type(listed) is list else []
    addresses = [address for address in decoys if address is not None]
    if addresses:
        put(out, ("related", "ip"), addresses)
    out.setdefault("peeltap", {})["summary"] = summary
