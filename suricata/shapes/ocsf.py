"""The Open Cybersecurity Schema Framework, 1.3.

    alert                            Detection Finding (2004), the connection in `evidences`
    any other event with addresses   Network Activity (4001)
    the rest (`stats`)               Base Event (0)

`src_endpoint` is the attacker, `dst_endpoint` the decoy. The proxy between them is
`proxy_endpoint`: of the activity itself, by the profile `network_proxy`; of a finding, whose
evidences have no such member, of the attacker's endpoint. What has no attribute is in `unmapped`.

Source: the schema that https://schema.ocsf.io/1.3.0/export/schema gives; later 1.x only add.
"""

from __future__ import annotations

import re
from typing import Any, Final

from .ends import NOBODY, End, Ends, ends
from .values import (
    Event,
    autonomous_system,
    child,
    digits,
    filled,
    geo,
    host,
    nanoseconds,
    number,
    port,
    text,
    texts,
)

VERSION: Final = "1.3.0"

FINDING: Final = 2004
ACTIVITY: Final = 4001
BASE: Final = 0

# Suricata's priorities (classification.config), 1 the worst.
SEVERITIES: Final = {1: 4, 2: 3, 3: 2, 4: 1}
UNKNOWN: Final = 0
INFORMATIONAL: Final = 1
OTHER: Final = 99

_CREATE: Final = 1
_CLOSE: Final = 2
_REFUSE: Final = 5
_TRAFFIC: Final = 6

_PRODUCT: Final = {"name": "Suricata", "vendor_name": "OISF"}
_PROTOCOLS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
_IP_ADDRESS: Final = 2
_MAX_TEXT: Final = 65_535
_MAX_HASH: Final = 64

# What attributes tell, and so `unmapped` need not.
_TOLD: Final = frozenset({"timestamp", "src_ip", "src_port", "dest_ip", "dest_port", "proto"})


def ocsf(event: Event) -> Event:
    """The event as OCSF has it; takes any object, never raises, changes nothing of it."""
    roles, kind = ends(event), event.get("event_type")
    peeltap = child(event, "peeltap")
    at = nanoseconds(event.get("timestamp"))
    metadata: Event = {"version": VERSION, "product": dict(_PRODUCT), "log_provider": "peeltap"}
    metadata.update(
        filled(
            uid=_short(peeltap.get("id")),
            event_code=_short(kind),
            original_time=_short(event.get("timestamp")),
        )
    )
    # `time` is required; an event without one is told as the beginning of time, not as now.
    out: Event = {"metadata": metadata, "time": 0 if at is None else at // 1_000_000}
    if kind == "alert" and type(event.get("alert")) is dict:
        _finding(out, event, event["alert"], roles)
    elif roles.decoy.ip is not None:
        _activity(out, event, roles)
    else:
        _base(out, event, roles)
    _window(out, event, peeltap)
    addresses = _observables(roles)
    if addresses:
        out["observables"] = addresses
    unmapped = {name: value for name, value in event.items() if name not in _TOLD}
    if unmapped:
        out["unmapped"] = unmapped
    return out


def _class(out: Event, uid: int, category: int, activity: int, severity: int) -> None:
    out.update(
        class_uid=uid,
        category_uid=category,
        activity_id=activity,
        type_uid=uid * 100 + activity,
        severity_id=severity,
    )


# --- Classes --------------------------------------------------------------------------------------


def _finding(out: Event, event: Event, alert: Event, roles: Ends) -> None:
    level = number(alert.get("severity"))
    severity = UNKNOWN if level is None else SEVERITIES.get(level, OTHER)
    _class(out, FINDING, 2, _CREATE, severity)
    if severity == OTHER:
        out["severity"] = str(level)
    out["metadata"]["profiles"] = ["security_control"]
    action = alert.get("action")
    refused = action == "blocked"
    out["action_id"] = 2 if refused else 1 if action == "allowed" else UNKNOWN
    out["disposition_id"] = 2 if refused else 1 if action == "allowed" else UNKNOWN
    out["status_id"] = 1
    title = _short(alert.get("signature")) or f"signature {alert.get('signature_id')!r}"[:256]
    out["message"] = title
    analytic = {"type_id": 1, "type": "Rule", "name": title}
    analytic.update(
        filled(
            uid=digits(alert.get("signature_id")),
            version=digits(alert.get("rev")),
            category=_short(alert.get("category")),
            desc=_short(alert.get("rule")),
        )
    )
    info: Event = {
        "title": title,
        "uid": out["metadata"].get("uid") or _derived(event, alert),
        "analytic": analytic,
    }
    category = _short(alert.get("category"))
    if category is not None:
        info["types"] = [category]
    first = nanoseconds(child(event, "flow").get("start"))
    if first is not None:
        info["first_seen_time"] = first // 1_000_000
    attacks = _attacks(child(alert, "metadata"))
    if attacks:
        info["attacks"] = attacks
    out["finding_info"] = info
    evidence = filled(
        src_endpoint=_endpoint(roles.attacker, child(event, "peeltap"), "attacker"),
        dst_endpoint=_endpoint(roles.decoy, child(event, "peeltap"), "decoy"),
        connection_info=_connection(event, roles),
        url=_url(child(event, "http")),
    )
    proxy = _proxy(roles)
    if proxy is not None and "src_endpoint" in evidence:
        evidence["src_endpoint"]["proxy_endpoint"] = proxy
    out["evidences"] = [evidence]


def _activity(out: Event, event: Event, roles: Ends) -> None:
    kind, flow = event.get("event_type"), child(event, "flow")
    activity = _TRAFFIC
    if kind == "drop":
        activity = _REFUSE
    elif kind == "flow" and flow.get("state") == "closed":
        activity = _CLOSE
    _class(out, ACTIVITY, 4, activity, INFORMATIONAL)
    peeltap = child(event, "peeltap")
    # Where the sender is unknown there is no such endpoint; `dst_endpoint` is required.
    out["dst_endpoint"] = _endpoint(roles.decoy, peeltap, "decoy")
    source = _endpoint(roles.attacker, peeltap, "attacker")
    if source is not None:
        out["src_endpoint"] = source
    out["connection_info"] = _connection(event, roles)
    proxy = _proxy(roles)
    if proxy is not None:
        out["metadata"]["profiles"] = ["network_proxy"]
        out["proxy_endpoint"] = proxy
    application = event.get("app_proto")
    out.update(
        filled(
            app_name=None if application == "failed" else _short(application),
            traffic=_traffic(event, roles),
            url=_url(child(event, "http")),
            tls=_tls(child(event, "tls")),
        )
    )


def _base(out: Event, event: Event, roles: Ends) -> None:
    _class(out, BASE, 0, OTHER, INFORMATIONAL)
    kind = _short(event.get("event_type"))
    if kind is not None:
        out["activity_name"] = kind
    if kind == "peeltap_session":
        summary = child(event, "summary")
        who = roles.attacker.ip or "somebody"
        out["message"] = f"session of {who}: {number(summary.get('connections')) or 0} connections"


# --- Parts ----------------------------------------------------------------------------------------


def _short(value: object) -> str | None:
    """A text within the schema's bound of a string."""
    told = text(value)
    return None if told is None else told[:_MAX_TEXT]


def _derived(event: Event, alert: Event) -> str:
    """A finding's uid where nothing gave the event one: flow, signature, moment."""
    parts = (event.get("flow_id"), alert.get("signature_id"), event.get("timestamp"))
    return "-".join(digits(part) or "" for part in parts)[:256]


def _endpoint(end: End, peeltap: Event, role: str) -> Event | None:
    if end.ip is None:
        return None
    out: Event = filled(ip=end.ip, port=end.port)
    known = child(peeltap, role)
    if role == "decoy":
        out.update(filled(name=_short(known.get("name"))))
        out.update(filled(zone=_short(child(peeltap, "segment").get("name"))))
        return out
    out.update(filled(hostname=host(known.get("domain"))))
    system = autonomous_system(known.get("as"))
    if system is not None:
        out["autonomous_system"] = filled(
            number=system.get("number"), name=child(system, "organization").get("name")
        )
    place = geo(known.get("geo"))
    if place is not None:
        where = child(place, "location")
        location = filled(
            city=place.get("city_name"),
            country=place.get("country_iso_code"),
            continent=place.get("continent_name"),
            region=place.get("region_iso_code"),
            postal_code=place.get("postal_code"),
            lat=where.get("lat"),
            long=where.get("lon"),
        )
        # One of these is required.
        if location.keys() & {"city", "country", "postal_code", "region"}:
            out["location"] = location
    return out


def _proxy(roles: Ends) -> Event | None:
    """The proxy that connected for the attacker, and the one that it connected to."""
    if not roles.proxied or roles.leg_attacker.ip is None:
        return None
    out: Event = filled(ip=roles.leg_attacker.ip, port=roles.leg_attacker.port)
    if roles.leg_decoy != NOBODY and roles.leg_decoy.ip is not None:
        out["proxy_endpoint"] = filled(ip=roles.leg_decoy.ip, port=roles.leg_decoy.port)
    return out


def _connection(event: Event, roles: Ends) -> Event:
    out: Event = {"direction_id": 1 if roles.known else UNKNOWN}
    protocol = text(event.get("proto"))
    if protocol is not None:
        name = protocol.lower()
        out["protocol_name"] = name[:64]
        out.update(filled(protocol_num=_PROTOCOLS.get(name)))
    address = roles.decoy.ip or roles.attacker.ip
    if address is not None:
        out["protocol_ver_id"] = 6 if ":" in address else 4
    out.update(filled(uid=digits(event.get("community_id")) or digits(event.get("flow_id"))))
    return out


def _traffic(event: Event, roles: Ends) -> Event | None:
    """`out` is what the attacker sent, `in` what the decoy answered."""
    flow = child(event, "flow")
    out = filled(
        bytes_out=number(flow.get("bytes_toserver")),
        bytes_in=number(flow.get("bytes_toclient")),
        packets_out=number(flow.get("pkts_toserver")),
        packets_in=number(flow.get("pkts_toclient")),
    )
    netflow = child(event, "netflow")
    if netflow:
        way = "out" if roles.to_server else "in"
        for name, told in (("bytes", "bytes"), ("packets", "pkts")):
            value = number(netflow.get(told))
            if value is not None:
                out[f"{name}_{way}"] = value
    for name in ("bytes", "packets"):
        if f"{name}_in" in out and f"{name}_out" in out:
            out[name] = out[f"{name}_in"] + out[f"{name}_out"]
    return out or None


def _url(http: Event) -> Event | None:
    whole = _short(http.get("url"))
    if whole is None:
        return None
    path, mark, query = whole.partition("?")
    return filled(
        url_string=whole,
        path=path if whole.startswith("/") else None,
        query_string=query if mark and whole.startswith("/") else None,
        hostname=host(http.get("hostname")),
        port=port(http.get("http_port")),
    )


def _tls(tls: Event) -> Event | None:
    version = _short(tls.get("version"))
    if version is None:
        return None
    out: Event = {"version": version.removeprefix("TLS ")}
    out.update(filled(sni=_short(tls.get("sni"))))
    for name, attribute in (("ja3", "ja3_hash"), ("ja3s", "ja3s_hash")):
        value = _short(child(tls, name).get("hash"))
        if value is not None and len(value) <= _MAX_HASH:
            out[attribute] = {"algorithm_id": 1, "value": value}
    certificate = _certificate(tls)
    if certificate is not None:
        out["certificate"] = certificate
    return out


def _certificate(tls: Event) -> Event | None:
    print_ = _short(tls.get("fingerprint"))
    issuer, serial = _short(tls.get("issuerdn")), _short(tls.get("serial"))
    if print_ is None or issuer is None or serial is None or len(print_) > _MAX_HASH:
        return None
    out: Event = {
        "issuer": issuer,
        "serial_number": serial,
        "fingerprints": [{"algorithm_id": 2, "value": print_}],
    }
    out.update(filled(subject=_short(tls.get("subject"))))
    for told, attribute in (("notbefore", "created_time"), ("notafter", "expiration_time")):
        at = nanoseconds(f"{tls.get(told)}Z")
        if at is not None:
            out[attribute] = at // 1_000_000
    return out


_TECHNIQUE: Final = re.compile(r"T\d{4}(\.\d{3})?", re.ASCII)
_TACTIC: Final = re.compile(r"TA\d{4}", re.ASCII)


def _attacks(metadata: Event) -> list[Event]:
    """MITRE's tactics and techniques, which rules of Emerging Threats name in their metadata."""
    tactics = [one for one in texts(metadata.get("mitre_tactic_id")) or [] if _is(_TACTIC, one)]
    found = [
        {"technique": {"uid": one}}
        for one in texts(metadata.get("mitre_technique_id")) or []
        if _is(_TECHNIQUE, one)
    ]
    if len(tactics) == 1:
        for attack in found:
            attack["tactic"] = {"uid": tactics[0]}
    return found or [{"tactic": {"uid": one}} for one in tactics]


def _is(pattern: re.Pattern[str], value: str) -> bool:
    return pattern.fullmatch(value) is not None


def _observables(roles: Ends) -> list[Event]:
    sides = (
        ("src_endpoint.ip", roles.attacker),
        ("dst_endpoint.ip", roles.decoy),
    )
    return [
        {"name": name, "type_id": _IP_ADDRESS, "value": end.ip}
        for name, end in sides
        if end.ip is not None
    ]


def _window(out: Event, event: Event, peeltap: Event) -> None:
    """From when to when, and how often: a flow's, a session's, or alerts that became one."""
    flow = child(event, "flow") or child(event, "netflow")
    span: Any = flow.get("start"), flow.get("end")
    count = number(peeltap.get("count"))
    if count is not None:
        span = peeltap.get("first"), peeltap.get("last")
    if event.get("event_type") == "peeltap_session":
        summary = child(event, "summary")
        span = summary.get("first"), summary.get("last")
        count = number(summary.get("connections"))
    start, end = nanoseconds(span[0]), nanoseconds(span[1])
    if start is not None:
        out["start_time"] = start // 1_000_000
    if end is not None:
        out["end_time"] = end // 1_000_000
        if start is not None and end >= start:
            out["duration"] = (end - start) // 1_000_000
    if count is not None and count <= 0x7FFFFFFF:
        out["count"] = count
