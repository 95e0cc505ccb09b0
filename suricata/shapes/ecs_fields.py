"""Which member of an event is which field of ECS: the tables, and what no table can say.

docs/shapes.md shows the same tables; a test holds them together, and another checks each field and
its type against the published schema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .values import (
    Event,
    boolean,
    child,
    date,
    digits,
    ip,
    nanoseconds,
    number,
    port,
    put,
    text,
    texts,
)


class Field(NamedTuple):
    """A field's path, and what makes its value of an event's; None leaves the event's in place."""

    path: tuple[str, ...]
    convert: Callable[[Any], Any]


def _fields(**members: tuple[str, Callable[[Any], Any]]) -> dict[str, Field]:
    return {
        name: Field(tuple(path.split(".")), convert) for name, (path, convert) in members.items()
    }


def _lower(value: object) -> str | None:
    name = text(value)
    return None if name is None else name.lower()


def _transport(value: object) -> str | None:
    name = _lower(value)
    return "ipv6-icmp" if name in ("icmpv6", "ipv6-icmp") else name


def _application(value: object) -> str | None:
    return None if value == "failed" else _lower(value)


def _version(value: object) -> str | None:
    name = text(value)
    return None if name is None else name.removeprefix("HTTP/")


def _hex(value: object) -> str | None:
    """A fingerprint or serial number: without colons, in capitals."""
    name = text(value)
    return None if name is None else name.replace(":", "").upper() or None


def _address(value: object) -> str | None:
    name = text(value)
    return None if name is None else name.strip("<>") or None


def _addresses(value: object) -> list[str] | None:
    found = texts(value)
    return None if found is None else [one.strip("<>") for one in found if one.strip("<>")] or None


def _attachments(value: object) -> list[Event] | None:
    found = texts(value)
    return None if found is None else [{"file": {"name": name}} for name in found]


def _ja3(value: object) -> str | None:
    return text(value.get("hash")) if type(value) is dict else None


_PROTOCOLS: Final = [
    "bittorrent_dht",
    "dcerpc",
    "dhcp",
    "dnp3",
    "dns",
    "enip",
    "frame",
    "ftp",
    "ftp_data",
    "ike",
    "krb5",
    "ldap",
    "mdns",
    "modbus",
    "mqtt",
    "nfs",
    "pgsql",
    "quic",
    "rdp",
    "rfb",
    "rpc",
    "sip",
    "smb",
    "snmp",
    "ssh",
    "telnet",
    "tftp",
    "tls",
    "websocket",
]

CATEGORIES: Final[dict[str, tuple[list[str], list[str]]]] = {
    "alert": (["network", "intrusion_detection"], ["info"]),
    "anomaly": (["network"], ["info"]),
    "drop": (["network"], ["denied"]),
    "flow": (["network"], ["connection", "end"]),
    "netflow": (["network"], ["connection", "info"]),
    "http": (["network", "web"], ["access", "protocol"]),
    "http2": (["network", "web"], ["access", "protocol"]),
    "fileinfo": (["network", "file"], ["info"]),
    "smtp": (["network", "email"], ["info", "protocol"]),
    "peeltap_session": (["network"], ["info"]),
    "stats": (["host"], ["info"]),
} | dict.fromkeys(_PROTOCOLS, (["network"], ["protocol"]))
"""`event.category` and `event.type` of each type of event."""

ROOT: Final = _fields(
    proto=("network.transport", _transport),
    app_proto=("network.protocol", _application),
    community_id=("network.community_id", text),
    in_iface=("observer.ingress.interface.name", text),
    host=("observer.name", text),
)

OBJECTS: Final[dict[str, dict[str, Field]]] = {
    "alert": _fields(
        action=("event.action", text),
        severity=("event.severity", number),
        signature_id=("rule.id", digits),
        signature=("rule.name", text),
        category=("rule.category", text),
        rev=("rule.version", digits),
        rule=("rule.description", text),
    ),
    "anomaly": _fields(event=("event.reason", text)),
    "drop": _fields(reason=("event.reason", text)),
    "flow": _fields(
        bytes_toserver=("source.bytes", number),
        bytes_toclient=("destination.bytes", number),
        pkts_toserver=("source.packets", number),
        pkts_toclient=("destination.packets", number),
        start=("event.start", date),
        end=("event.end", date),
        reason=("event.reason", text),
    ),
    "netflow": _fields(
        start=("event.start", date),
        end=("event.end", date),
        bytes=("network.bytes", number),
        pkts=("network.packets", number),
    ),
    "http": _fields(
        hostname=("url.domain", text),
        url=("url.original", text),
        http_port=("url.port", port),
        http_user_agent=("user_agent.original", text),
        http_refer=("http.request.referrer", text),
        http_method=("http.request.method", text),
        protocol=("http.version", _version),
        status=("http.response.status_code", number),
        length=("http.response.body.bytes", number),
        http_content_type=("http.response.mime_type", text),
        http_request_body_printable=("http.request.body.content", text),
        http_response_body_printable=("http.response.body.content", text),
    ),
    "dns": _fields(
        id=("dns.id", digits),
        rrname=("dns.question.name", text),
        rrtype=("dns.question.type", text),
        rcode=("dns.response_code", text),
    ),
    "tls": _fields(
        sni=("tls.client.server_name", text),
        ja3=("tls.client.ja3", _ja3),
        ja3s=("tls.server.ja3s", _ja3),
        subject=("tls.server.subject", text),
        issuerdn=("tls.server.issuer", text),
        serial=("tls.server.x509.serial_number", _hex),
        fingerprint=("tls.server.hash.sha1", _hex),
        notbefore=("tls.server.not_before", date),
        notafter=("tls.server.not_after", date),
        subjectaltname=("tls.server.x509.alternative_names", texts),
        certificate=("tls.server.certificate", text),
        chain=("tls.server.certificate_chain", texts),
        session_resumed=("tls.resumed", boolean),
    ),
    "smtp": _fields(mail_from=("email.sender.address", _address)),
    "email": _fields(
        to=("email.to.address", _addresses),
        cc=("email.cc.address", _addresses),
        subject=("email.subject", text),
        message_id=("email.message_id", text),
        x_mailer=("email.x_mailer", text),
        attachment=("email.attachments", _attachments),
        **{"from": ("email.from.address", _addresses)},
    ),
    "fileinfo": _fields(
        filename=("file.path", text),
        size=("file.size", number),
        md5=("file.hash.md5", text),
        sha1=("file.hash.sha1", text),
        sha256=("file.hash.sha256", text),
    ),
}
"""For each object of an event the field of each of its members."""


def _login(ftp: Event) -> str | None:
    return text(ftp.get("command_data")) if ftp.get("command") == "USER" else None


USERS: Final[dict[str, Callable[[Event], str | None]]] = {
    "ftp": _login,
    "krb5": lambda krb5: text(krb5.get("cname")),
    "mqtt": lambda mqtt: text(child(mqtt, "connect").get("username")),
    "smb": lambda smb: text(child(smb, "ntlmssp").get("user")),
    "snmp": lambda snmp: text(snmp.get("usm")),
}
"""The user that an object of an event names."""

_OPCODES: Final = {0: "QUERY", 1: "IQUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE"}
_FLAGS: Final = ("aa", "tc", "rd", "ra", "ad", "cd")


def refine(out: Event, event: Event, to_server: bool) -> None:
    """What needs more than one member: parts of a URL, sums, answers, lists."""
    for name, value in event.items():
        part = _PARTS.get(name)
        if part is not None and type(value) is dict:
            part(out, value, to_server)
    _vlan(out, event.get("vlan"))


def _alert(out: Event, alert: Event, to_server: bool) -> None:
    kind = out["event"]["type"]
    if alert.get("action") == "allowed":
        kind.append("allowed")
    elif alert.get("action") == "blocked":
        kind.append("denied")
    put(out, ("message",), text(alert.get("signature")))
    metadata = child(alert, "metadata")
    for name, path in _MITRE.items():
        put(out, path, texts(metadata.get(name)))


_MITRE: Final = {
    "mitre_tactic_id": ("threat", "tactic", "id"),
    "mitre_tactic_name": ("threat", "tactic", "name"),
    "mitre_technique_id": ("threat", "technique", "id"),
    "mitre_technique_name": ("threat", "technique", "name"),
}


def _flow(out: Event, flow: Event, to_server: bool) -> None:
    for name in ("bytes", "packets"):
        sides = [child(out, side).get(name) for side in ("source", "destination")]
        if None not in sides:
            put(out, ("network", name), sum(sides))
    _duration(out, flow)


def _netflow(out: Event, netflow: Event, to_server: bool) -> None:
    side = "source" if to_server else "destination"
    put(out, (side, "bytes"), number(netflow.get("bytes")))
    put(out, (side, "packets"), number(netflow.get("pkts")))
    _duration(out, netflow)


def _duration(out: Event, flow: Event) -> None:
    start, end = nanoseconds(flow.get("start")), nanoseconds(flow.get("end"))
    if start is not None and end is not None and end >= start:
        put(out, ("event", "duration"), end - start)


def _http(out: Event, http: Event, to_server: bool) -> None:
    whole = text(http.get("url"))
    if whole is not None and whole.startswith("/"):
        path, mark, query = whole.partition("?")
        put(out, ("url", "path"), path)
        put(out, ("url", "query"), query if mark else None)
    status = number(http.get("status"))
    if status is not None:
        put(out, ("event", "outcome"), "failure" if status >= 400 else "success")


def _dns(out: Event, dns: Event, to_server: bool) -> None:
    kind = dns.get("type")
    if kind in ("query", "request"):
        put(out, ("dns", "type"), "query")
    elif kind in ("answer", "response"):
        put(out, ("dns", "type"), "answer")
    code = dns.get("opcode")
    put(out, ("dns", "op_code"), _OPCODES.get(code) if type(code) is int else None)
    flags = [flag.upper() for flag in _FLAGS if dns.get(flag) is True]
    put(out, ("dns", "header_flags"), flags or None)
    # An alert's, and those of version 3, have their questions in a list.
    asked = dns.get("queries", dns.get("query"))
    if type(asked) is list and asked and type(asked[0]) is dict:
        for name, field in (("rrname", "name"), ("rrtype", "type")):
            put(out, ("dns", "question", field), text(asked[0].get(name)))
    listed = dns.get("answers")
    if type(listed) is not list:
        return
    answers, resolved = [], []
    for one in listed:
        if type(one) is not dict:
            continue
        answer: Event = {}
        put(answer, ("name",), text(one.get("rrname")))
        put(answer, ("type",), text(one.get("rrtype")))
        put(answer, ("ttl",), number(one.get("ttl")))
        put(answer, ("data",), text(one.get("rdata")))
        if answer:
            answers.append(answer)
        if ip(one.get("rdata")) is not None:
            resolved.append(one["rdata"])
    put(out, ("dns", "answers"), answers or None)
    put(out, ("dns", "resolved_ip"), list(dict.fromkeys(resolved)) or None)


def _tls(out: Event, tls: Event, to_server: bool) -> None:
    name, _, version = (text(tls.get("version")) or "").partition(" ")
    if version:
        put(out, ("tls", "version"), version.removeprefix("v"))
        put(out, ("tls", "version_protocol"), "ssl" if name.startswith("SSL") else "tls")
    for own, field in (("subject", "subject"), ("issuerdn", "issuer")):
        put(out, ("tls", "server", "x509", field, "distinguished_name"), text(tls.get(own)))
    client = child(tls, "client")
    put(out, ("tls", "client", "subject"), text(client.get("subject")))
    put(out, ("tls", "client", "issuer"), text(client.get("issuerdn")))
    put(out, ("tls", "client", "hash", "sha1"), _hex(client.get("fingerprint")))
    put(out, ("tls", "client", "not_before"), date(client.get("notbefore")))
    put(out, ("tls", "client", "not_after"), date(client.get("notafter")))


def _smtp(out: Event, smtp: Event, to_server: bool) -> None:
    # The envelope tells where a mail goes; its own header may claim anything.
    put(out, ("email", "to", "address"), _addresses(smtp.get("rcpt_to")))


def _file(out: Event, file: Event, to_server: bool) -> None:
    path = text(file.get("filename"))
    if path is not None:
        put(out, ("file", "name"), path.rpartition("/")[2] or None)


_PARTS: Final[dict[str, Callable[[Event, Event, bool], None]]] = {
    "alert": _alert,
    "flow": _flow,
    "netflow": _netflow,
    "http": _http,
    "dns": _dns,
    "tls": _tls,
    "smtp": _smtp,
    "fileinfo": _file,
}


def _vlan(out: Event, tags: object) -> None:
    if type(tags) is not list:
        return
    for path, tag in zip(
        (("network", "vlan", "id"), ("network", "inner", "vlan", "id")), tags, strict=False
    ):
        put(out, path, digits(tag))
