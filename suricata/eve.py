"""EVE: where an event repeats its connection's 5-tuple, and what belongs there instead.

Sources: Suricata 7.0's EVE schema (`etc/schema.json`) and its writers (`src/output-json*.c`).

Every correction is by role. The record says which end of the connection is the client; each place
in the event says, by its own rules, which end it names. A value that merely looks like an observed
address, in an HTTP body say, is never touched.

`PLACES` lists every place in the schema that holds an address or a port, the ones that are left
alone too, each with its reason.
"""

from __future__ import annotations

import ipaddress
from base64 import b64decode
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from .community_id import TCP, community_id
from .flows import Match, Record

Event = dict[str, Any]
Path = tuple[str, ...]
# For an object (its path from the root), the members that change: they are there already.
Changes = list[tuple[Path, dict[str, "str | int"]]]
End = tuple[str, int]


class Place(NamedTuple):
    """One place of the schema: `path` in dots, whether it is corrected, and why (not)."""

    path: str
    corrected: bool
    reason: str


PLACES: Final = (
    Place(
        "src_ip src_port dest_ip dest_port",
        True,
        "the packet's or transaction's direction; the record says whether the source is the client",
    ),
    Place("community_id", True, "a hash of the 5-tuple: recomputed with the same seed"),
    Place(
        "flow.src_ip flow.src_port flow.dest_ip flow.dest_port",
        True,
        "alert, drop: the flow's own orientation, whatever the packet's",
    ),
    Place("alert.source alert.target", True, "a rule's `target`: either end, told by its address"),
    Place(
        "tunnel.src_ip tunnel.src_port tunnel.dest_ip tunnel.dest_port",
        True,
        "of a packet reassembled from fragments it is the connection itself (port 0);"
        " a real tunnel's ends are other addresses, and stay",
    ),
    Place(
        "src_ip dest_ip (ICMP error)",
        True,
        "the error belongs to the quoted connection: an end"
        " of it is corrected, a router on the way stays",
    ),
    Place("ether vlan in_iface", False, "the leg's own link layer; no header tells the true one"),
    Place("packet payload payload_printable stream", False, "evidence, to the byte"),
    Place("alert.xff http.xff", False, "the client's claim in its own stream"),
    Place(
        "alert.rule alert.metadata metadata.flowbits metadata.flowints metadata.flowvars",
        False,
        "text and variables of the rule's author",
    ),
    Place(
        "http.hostname http.url http.http_port http.http_refer http.*_headers",
        False,
        "what the client wrote",
    ),
    Place(
        "dns.queries dns.answers dns.grouped tls.sni tls.subject tls.san quic.sni", False, "content"
    ),
    Place(
        "ftp.dynamic_port ftp.reply",
        False,
        "the peers' own agreement on another connection,"
        " which has its own events, and its own record if it is proxied",
    ),
    Place(
        "ftp_data.* tftp.* nfs.* rpc.* smb.* dcerpc.* rdp.* rfb.* mqtt.* pgsql.* krb5.*",
        False,
        "content; their events carry the 5-tuple at the root only",
    ),
    Place("sip.uri sip.request_line smtp.helo smtp.mail_from email.*", False, "content"),
    Place(
        "dhcp.*_ip dhcp.routers dhcp.dns_servers ike.* snmp.* bittorrent_dht.nodes",
        False,
        "content of datagrams, which no proxied leg carries",
    ),
    Place("dnp3.src dnp3.dst modbus.* enip.*", False, "link addresses of the protocol, not IP"),
    Place(
        "fileinfo.* files.* anomaly.* frame.* drop.* tcp.* netflow.*",
        False,
        "hold no address; netflow has one event for each direction, told apart at the root",
    ),
    Place("stats.* engine.*", False, "of the sensor, not of a connection"),
)

# Events about a whole flow tell its start under their own name.
_FLOW_OBJECTS: Final = ("flow", "netflow")


class Clock:
    """Parses EVE timestamps to nanoseconds, fast for the many that share a second."""

    def __init__(self, max_seconds: int = 4096) -> None:
        self._seconds: dict[str, int] = {}
        self._max = max_seconds

    def parse(self, text: object) -> int | None:
        """Nanoseconds since 1970 in UTC, or None for what is no `%Y-%m-%dT%H:%M:%S.%f%z`."""
        try:
            digits = text[20:26]  # type: ignore[index]
            if digits.isdigit() and digits.isascii():
                # Only what the general way has parsed is a key; the digits are all that differs.
                return self._seconds[text[:20] + text[26:]] + int(digits) * 1000  # type: ignore[index]
        except (AttributeError, KeyError, TypeError):
            pass
        return self._first_of_second(text)

    def _first_of_second(self, text: object) -> int | None:
        if type(text) is not str:
            return None
        at = _parse_time(text)
        # Suricata writes six digits always; of anything else nothing is remembered.
        if at is not None and len(text) == 31 and text[19] == ".":
            whole = _parse_time(text[:19] + text[26:])
            if whole is not None:
                if len(self._seconds) >= self._max:
                    self._seconds.clear()
                self._seconds[text[:20] + text[26:]] = whole
        return at


def _parse_time(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    since = moment - _EPOCH
    at = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    # Beyond it (in 2116) stores of flow records take a time for the end of all times.
    return at if -_FAR <= at <= _FAR else None


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAR: Final = 1 << 62


def flow_start(event: Event) -> object:
    """The start that the event tells of its flow, as text, or None."""
    for name in _FLOW_OBJECTS:
        if name in event:
            value = event[name]
            if type(value) is dict and "start" in value:
                return value["start"]
    return None


def vlan_tags(event: Event) -> tuple[int, ...]:
    """The event's VLAN tags, outermost first; what is no list of numbers has none."""
    tags = event.get("vlan")
    if type(tags) is not list or not all(type(tag) is int for tag in tags):
        return ()
    return tuple(tags)


def eve_ip(ip: str) -> str:
    """An address as Suricata spells it: IPv6 in full, so that a SIEM sees one text for it."""
    return _exploded(ip) if ":" in ip else ip


@lru_cache(maxsize=65_536)
def _exploded(ip: str) -> str:
    return ipaddress.IPv6Address(ip).exploded


@lru_cache(maxsize=65_536)
def _canonical(ip: str) -> str:
    return str(ipaddress.ip_address(ip))


class Roles(NamedTuple):
    """The two ends of a connection: as observed on the leg, and as they truly are.

    Observed addresses are in canonical text, true ones as Suricata spells them.
    """

    client: End
    server: End
    true_client: End
    true_server: End

    def end(self, ip: object, port: object) -> End | None:
        """The true end in the place of an observed one, None if it is neither.

        Without a port (None or 0) the address alone decides, unless both ends share it.
        """
        if type(ip) is not str:
            return None
        if ":" in ip:
            try:
                ip = _canonical(ip)
            except ValueError:
                return None
        if port is None or port == 0:
            if self.client[0] == self.server[0]:
                return None
            is_client, is_server = ip == self.client[0], ip == self.server[0]
        else:
            is_client, is_server = (ip, port) == self.client, (ip, port) == self.server
        if is_client:
            return self.true_client
        return self.true_server if is_server else None


def roles(record: Record) -> Roles | None:
    """The ends of `record`'s connection, None if no header told the true ones."""
    true = record.true
    if true is None:
        return None
    observed = record.observed
    return Roles(
        (observed.src_ip, observed.src_port),
        (observed.dest_ip, observed.dest_port),
        (eve_ip(true.src_ip), true.src_port),
        (eve_ip(true.dest_ip), true.dest_port),
    )


def corrections(event: Event, match: Match, seed: int) -> Changes:
    """What must stand in `event` instead, object by object; nothing if all is true already.

    `event` was matched by its root's tuple, or, for an ICMP error, by the one that it quotes.
    """
    root = root_corrections(event, match, seed)
    return [((), root), *nested_corrections(event, match.record)] if root is not None else []


def root_corrections(event: Event, match: Match, seed: int) -> dict[str, str | int] | None:
    """The members of the root that change; None if all of the event is true already."""
    true = match.record.true
    if true is None or match.by == "true":
        return None
    client, server = eve_ip(true.src_ip), eve_ip(true.dest_ip)
    client_port, server_port = true.src_port, true.dest_port
    root: dict[str, str | int]
    if not _has_tuple(event):
        root = _icmp_ends(event, match.record)
    # The root's direction is the match's.
    elif match.reversed:
        root = {
            "src_ip": server,
            "src_port": server_port,
            "dest_ip": client,
            "dest_port": client_port,
        }
    else:
        root = {
            "src_ip": client,
            "src_port": client_port,
            "dest_ip": server,
            "dest_port": server_port,
        }
    if "community_id" in event:
        root["community_id"] = community_id(client, client_port, server, server_port, seed)
    return root


def nested_corrections(event: Event, record: Record) -> Changes:
    """What must stand instead in the objects of `event` that name the ends by themselves."""
    changes: Changes = []
    if "flow" in event:
        _pair(("flow",), event["flow"], record, changes)
    if "alert" in event:
        _target(event["alert"], record, changes)
    if "tunnel" in event:
        _pair(("tunnel",), event["tunnel"], record, changes)
    return changes


def _has_tuple(event: Event) -> bool:
    """Whether the event was found by its root's own tuple, not by one that it quotes."""
    return event.get("proto", "TCP") == "TCP" and "src_port" in event


def _icmp_ends(event: Event, record: Record) -> dict[str, str | int]:
    ends = roles(record)
    changed: dict[str, str | int] = {}
    for key in ("src_ip", "dest_ip"):
        end = None if ends is None else ends.end(event.get(key), None)
        if end is not None:
            changed[key] = end[0]
    return changed


def _pair(path: Path, value: object, record: Record, changes: Changes) -> None:
    """Correct an object that names both ends, if both are this connection's."""
    if type(value) is not dict or "src_ip" not in value:
        return
    ends = roles(record)
    if ends is None:
        return
    source = ends.end(value["src_ip"], value.get("src_port"))
    target = ends.end(value.get("dest_ip"), value.get("dest_port"))
    if source is None or target is None:
        return
    changed: dict[str, str | int] = {"src_ip": source[0], "dest_ip": target[0]}
    # Port 0 is Suricata's word for a packet without ports (a fragment).
    if value.get("src_port"):
        changed["src_port"] = source[1]
    if value.get("dest_port"):
        changed["dest_port"] = target[1]
    changes.append((path, changed))


def _target(alert: object, record: Record, changes: Changes) -> None:
    """Correct what a rule's `target` adds to its alert, each end by itself."""
    if type(alert) is not dict or not ("source" in alert or "target" in alert):
        return
    ends = roles(record)
    for name in ("source", "target"):
        value = alert.get(name)
        if type(value) is not dict or ends is None:
            continue
        end = ends.end(value.get("ip"), value.get("port"))
        if end is not None:
            changed: dict[str, str | int] = {"ip": end[0]}
            if value.get("port"):
                changed["port"] = end[1]
            changes.append((("alert", name), changed))


def quoted_tuple(event: Event, seed: int) -> tuple[str, int, str, int] | None:
    """The TCP 5-tuple that an ICMP error's event quotes, None if it cannot be told.

    Such an event belongs to the connection's flow but names no port (Suricata leaves them out for
    ICMP). Its `payload` holds the quoted packet's head (RFC 792, RFC 4443); the event's
    `community_id`, which is the flow's, must agree where there is one.
    """
    payload = event.get("payload")
    if type(payload) is not str:
        return None
    try:
        packet = b64decode(payload, validate=True)
        if packet[0] >> 4 == 4:
            head, proto = (packet[0] & 15) * 4, packet[9]
            source, target = packet[12:16], packet[16:20]
        elif packet[0] >> 4 == 6:
            # Behind extension headers TCP is not looked for.
            head, proto = 40, packet[6]
            source, target = packet[8:24], packet[24:40]
        else:
            return None
        src_port = int.from_bytes(packet[head : head + 2], "big")
        dest_port = int.from_bytes(packet[head + 2 : head + 4], "big")
        if proto != TCP or len(packet) < head + 4:
            return None
        src_ip, dest_ip = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(target))
    except (ValueError, IndexError):
        return None
    known = event.get("community_id")
    if known is not None and known != community_id(src_ip, src_port, dest_ip, dest_port, seed):
        return None
    return src_ip, src_port, dest_ip, dest_port


def peeltap_object(event: Event, match: Match, seed: int) -> Event:
    """The `peeltap` member of a matched event: what was there before, and where it came from."""
    record = match.record
    observed: Event
    # Whoever shapes the event for a SIEM must not guess which end attacked. An ICMP error has a
    # direction of its own.
    direction: Event = {"direction": "to_client" if match.reversed else "to_server"}
    if match.by == "true":
        ends = record.observed
        source, target = (ends.src_ip, ends.src_port), (ends.dest_ip, ends.dest_port)
        if match.reversed:
            source, target = target, source
        observed = {
            "src_ip": eve_ip(source[0]),
            "src_port": source[1],
            "dest_ip": eve_ip(target[0]),
            "dest_port": target[1],
        }
        if "community_id" in event:
            observed["community_id"] = community_id(*source, *target, seed)
    elif _has_tuple(event):
        observed = {
            "src_ip": event["src_ip"],
            "src_port": event["src_port"],
            "dest_ip": event["dest_ip"],
            "dest_port": event["dest_port"],
        }
        if "community_id" in event:
            observed["community_id"] = event["community_id"]
    else:
        observed = {
            key: event[key] for key in ("src_ip", "dest_ip", "community_id") if key in event
        }
        direction = {}
    return {
        "observed": observed,
        **direction,
        "flow": record.id,
        "codec": record.codecs,
        "verdict": record.verdict,
        "confidence": match.confidence,
    }
