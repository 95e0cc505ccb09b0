"""Splunk's Common Information Model: flat names of its data models, attacker as `src`.

    alert            Intrusion_Detection
    dns              Network_Resolution
    http             Web
    tls              Certificates
    smtp             Email
    any other        Network_Traffic

Every event has the names of Network_Traffic for its ends; those of another model come on top. What
has no name in a model stays as EVE has it, but for the root's addresses, which are said by role.

A model takes an event by its tags, which Splunk gives at search time: docs/shapes.md has the
`eventtypes.conf` and `tags.conf`, by `event_type`.

Source: the data models as `pytest-splunk-addon` 7.0 has them (CIM 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .ends import Ends, ends
from .values import (
    Event,
    child,
    digits,
    filled,
    nanoseconds,
    number,
    text,
    texts,
)

VENDOR_PRODUCT: Final = "OISF Suricata"

# Suricata's priorities (classification.config), 1 the worst.
SEVERITIES: Final = {1: "high", 2: "medium", 3: "low"}

_TAKEN: Final = frozenset(
    {"src_ip", "src_port", "dest_ip", "dest_port", "proto", "app_proto", "direction"}
)
_TRANSPORTS: Final = {"ipv6-icmp": "icmp", "icmpv6": "icmp"}


def cim(event: Event) -> Event:
    """The event in the models' names; takes any object, never raises, changes nothing of it."""
    roles, kind = ends(event), event.get("event_type")
    rest = {name: value for name, value in event.items() if name not in _TAKEN}
    out = _traffic(event, roles)
    if type(kind) is str and kind in _MODELS:
        out.update(_MODELS[kind](event, child(event, kind)))
    # Where a name of EVE's root is a model's as well, the model's is meant.
    return {**rest, **out}


def _traffic(event: Event, roles: Ends) -> Event:
    protocol = text(event.get("proto"))
    transport = None if protocol is None else protocol.lower()
    transport = _TRANSPORTS.get(transport, transport) if transport is not None else None
    address = roles.attacker.ip or roles.decoy.ip
    out = filled(
        src=roles.attacker.ip,
        src_ip=roles.attacker.ip,
        src_port=roles.attacker.port,
        dest=roles.decoy.ip,
        dest_ip=roles.decoy.ip,
        dest_port=roles.decoy.port,
        transport=transport,
        protocol=None if address is None else "icmp" if transport == "icmp" else "ip",
        protocol_version=None if address is None else "ipv6" if ":" in address else "ipv4",
        app=_application(event),
        dvc=text(event.get("host")) or "peeltap",
        vendor_product=VENDOR_PRODUCT,
        packet_direction=text(event.get("direction")),
        flow_id=digits(event.get("flow_id")),
        session_id=text(child(event, "peeltap").get("session")),
        dest_zone=text(child(child(event, "peeltap"), "segment").get("name")),
    )
    if roles.proxied:
        out.update(
            filled(
                src_translated_ip=roles.leg_attacker.ip,
                src_translated_port=roles.leg_attacker.port,
                dest_translated_ip=roles.leg_decoy.ip,
                dest_translated_port=roles.leg_decoy.port,
            )
        )
    if roles.known:
        out["direction"] = "inbound"
    kind = event.get("event_type")
    out["action"] = "blocked" if kind == "drop" else "allowed"
    tags = event.get("vlan")
    if type(tags) is list and tags:
        out.update(filled(vlan=digits(tags[0])))
    out.update(_sums(event, roles))
    return out


def _application(event: Event) -> str | None:
    name = text(event.get("app_proto"))
    if name is None:
        kind = event.get("event_type")
        name = kind if kind in ("http", "dns", "tls", "ssh", "smtp", "smb", "rdp", "ftp") else None
    return None if name == "failed" else name


def _sums(event: Event, roles: Ends) -> Event:
    """Bytes and packets: `out` is what the attacker sent, `in` what the decoy answered."""
    flow, netflow = child(event, "flow"), child(event, "netflow")
    out = filled(
        bytes_out=number(flow.get("bytes_toserver")),
        bytes_in=number(flow.get("bytes_toclient")),
        packets_out=number(flow.get("pkts_toserver")),
        packets_in=number(flow.get("pkts_toclient")),
    )
    way = "out" if roles.to_server else "in"
    out.update(
        filled(
            **{
                f"bytes_{way}": number(netflow.get("bytes")),
                f"packets_{way}": number(netflow.get("pkts")),
            }
        )
    )
    for name in ("bytes", "packets"):
        if f"{name}_in" in out and f"{name}_out" in out:
            out[name] = out[f"{name}_in"] + out[f"{name}_out"]
    held = flow or netflow
    start, end = nanoseconds(held.get("start")), nanoseconds(held.get("end"))
    if start is not None and end is not None and end >= start:
        out["duration"] = (end - start) / 1e9
    return out


# --- Models on top --------------------------------------------------------------------------------


def _alert(event: Event, alert: Event) -> Event:
    level = number(alert.get("severity"))
    return filled(
        action="blocked" if alert.get("action") == "blocked" else "allowed",
        category=text(alert.get("category")) or "unknown",
        ids_type="network",
        severity=SEVERITIES.get(level, "informational") if level is not None else "informational",
        severity_id=digits(level),
        signature=text(alert.get("signature")) or "unknown",
        signature_id=digits(alert.get("signature_id")),
        rule=text(alert.get("signature")),
        rule_id=digits(alert.get("signature_id")),
    )


def _http(event: Event, http: Event) -> Event:
    url = text(http.get("url"))
    site = text(http.get("hostname"))
    path, mark, query = (url or "").partition("?")
    agent = text(http.get("http_user_agent"))
    whole = None
    if url is not None:
        whole = f"http://{site}{url}" if site is not None and url.startswith("/") else url
    return filled(
        url=whole,
        url_length=None if whole is None else len(whole),
        url_domain=site,
        site=site,
        uri_path=path if path.startswith("/") else None,
        uri_query=f"?{query}" if mark else None,
        http_method=text(http.get("http_method")),
        http_user_agent=agent,
        http_user_agent_length=None if agent is None else len(agent),
        http_referrer=text(http.get("http_refer")),
        http_content_type=text(http.get("http_content_type")),
        status=digits(http.get("status")),
    )


# RFC 1035, section 4.1.1, and its followers; the words are the model's.
_CODES: Final = {
    "NOERROR": ("No Error", 0),
    "FORMERR": ("Format Error", 1),
    "SERVFAIL": ("Server Failure", 2),
    "NXDOMAIN": ("Non-Existent Domain", 3),
    "NOTIMP": ("NotImp", 4),
    "REFUSED": ("Refused", 5),
    "YXDOMAIN": ("YXDomain", 6),
    "YXRRSET": ("YXRRSet", 7),
    "NXRRSET": ("NXRRSet", 8),
    "NOTAUTH": ("NotAuth", 9),
    "NOTZONE": ("NotZone", 10),
}


def _dns(event: Event, dns: Event) -> Event:
    answered = dns.get("type") in ("answer", "response")
    asked = dns.get("queries")
    first = asked[0] if type(asked) is list and asked and type(asked[0]) is dict else dns
    listed = dns.get("answers")
    answers = [
        told
        for one in (listed if type(listed) is list else [])
        if type(one) is dict and (told := text(one.get("rdata"))) is not None
    ]
    code = dns.get("rcode")
    reply, number_ = _CODES.get(code, (None, None)) if type(code) is str else (None, None)
    return filled(
        message_type="Response" if answered else "Query",
        query=text(first.get("rrname")),
        query_count=None if text(first.get("rrname")) is None else 1,
        query_type="Query",
        record_type=text(first.get("rrtype")),
        transaction_id=number(dns.get("id")),
        answer=answers or None,
        answer_count=len(answers) if answered else None,
        reply_code=reply,
        reply_code_id=digits(number_) if number_ else None,
    )


def _tls(event: Event, tls: Event) -> Event:
    subject, issuer = text(tls.get("subject")), text(tls.get("issuerdn"))
    start, end = nanoseconds(f"{tls.get('notbefore')}Z"), nanoseconds(f"{tls.get('notafter')}Z")
    window = None if start is None or end is None else (end - start) // 1_000_000_000
    return filled(
        ssl_version=text(tls.get("version")),
        ssl_subject=subject,
        ssl_subject_common_name=_part(subject, "CN"),
        ssl_subject_organization=_part(subject, "O"),
        ssl_issuer=issuer,
        ssl_issuer_common_name=_part(issuer, "CN"),
        ssl_issuer_organization=_part(issuer, "O"),
        ssl_serial=text(tls.get("serial")),
        ssl_hash=text(tls.get("fingerprint")),
        ssl_start_time=text(tls.get("notbefore")),
        ssl_end_time=text(tls.get("notafter")),
        ssl_validity_window=window,
        ssl_name=text(tls.get("sni")),
    )


def _part(name: str | None, key: str) -> str | None:
    """The first value of `key` in a distinguished name as Suricata writes it."""
    for part in (name or "").split(", "):
        if part.startswith(f"{key}="):
            return part[len(key) + 1 :] or None
    return None


def _smtp(event: Event, smtp: Event) -> Event:
    email = child(event, "email")
    sender = text(smtp.get("mail_from"))
    told = texts(smtp.get("rcpt_to")) or texts(email.get("to")) or []
    recipients = [one.strip("<>") for one in told]
    return filled(
        # A decoy takes every mail; whether it goes anywhere nobody tells.
        action="delivered",
        protocol="smtp",
        src_user=None if sender is None else sender.strip("<>"),
        return_addr=None if sender is None else sender.strip("<>"),
        src_user_domain=_domain(sender),
        recipient=recipients or None,
        recipient_count=len(recipients) or None,
        recipient_domain=_domain(recipients[0]) if recipients else None,
        subject=text(email.get("subject")),
        message_id=text(email.get("message_id")),
        file_name=texts(email.get("attachment")),
    )


def _domain(address: str | None) -> str | None:
    _, at, domain = (address or "").strip("<>").rpartition("@")
    return domain if at and domain else None


def _flow(event: Event, flow: Event) -> Event:
    return {"action": "flow"}


def _file(event: Event, file: Event) -> Event:
    return filled(
        file_name=text(file.get("filename")),
        file_size=number(file.get("size")),
        file_hash=text(file.get("sha256")) or text(file.get("sha1")) or text(file.get("md5")),
    )


def _drop(event: Event, drop: Event) -> Event:
    return filled(action="blocked", rule=text(drop.get("reason")))


def _netflow(event: Event, netflow: Event) -> Event:
    return filled(action="flow", ttl=number(netflow.get("min_ttl")))


_MODELS: Final[dict[str, Callable[[Event, Event], Event]]] = {
    "alert": _alert,
    "http": _http,
    "dns": _dns,
    "tls": _tls,
    "smtp": _smtp,
    "flow": _flow,
    "netflow": _netflow,
    "fileinfo": _file,
    "drop": _drop,
}

MODELS: Final = {
    "alert": "Intrusion_Detection",
    "dns": "Network_Resolution",
    "http": "Web",
    "tls": "Certificates",
    "smtp": "Email",
}
"""The model on top of Network_Traffic, by type of event."""
