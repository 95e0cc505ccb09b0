"""One harmless connection across the bridge, followed to its corrected event.

It has a leg's addresses, a source port that no host chooses by itself, the header of the leg's
first codec, and in it documentation addresses (RFC 5737, RFC 3849) as peer and destination. Behind
the header an HTTP request asks for a path that nobody else asks for. On its way it is seen, or not,

    across the bridge   at the other end of the two ports (`cage`)
    on the tap          without its header: capture, engine and output work
    in a sink           with the peer's address: Suricata, relay and correction work

and the first place where it is missing says where to look. It leaves a flow record and its events
behind, which the addresses tell from any attack.
"""

from __future__ import annotations

import ipaddress
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import peeltap_core

from pipeline.doctor import frames
from pipeline.doctor.cage import CageError, Ending, cage
from pipeline.doctor.finding import Finding, fail, ok, warn
from pipeline.doctor.witness import Follower, Watch
from reassembly.capture_filter import FilterError
from reassembly.rules import SSLPROXY

PEERS: Final = (("198.51.100.77", "203.0.113.80"), ("2001:db8:77::1", "2001:db8:80::1"))
"""Peer and destination in a header, IPv4 if the codec has room for it."""
DESTINATION_PORT: Final = 80

# Above what Linux gives to outgoing connections (ip_local_port_range).
SOURCE_PORTS: Final = range(61_000, 65_536)
PEER_PORTS: Final = range(20_000, 60_000)

ARRIVAL_SECONDS: Final = 2.0
EVENT_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1


class CanaryError(Exception):
    """There is no connection that could be tried; one sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The connection: its leg, its header, what the header says, what is asked for."""

    source: tuple[str, int]
    target: tuple[str, int]
    peer: tuple[str, int]
    destination: tuple[str, int]
    codec: str
    header: bytes
    token: str

    @property
    def request(self) -> bytes:
        """What the client sends: header and HTTP request."""
        return (
            self.header
            + (
                f"GET /peeltap-canary-{self.token} HTTP/1.1\r\nHost: canary.invalid\r\n"
                "User-Agent: peeltap-doctor\r\nConnection: close\r\n\r\n"
            ).encode()
        )

    @property
    def response(self) -> bytes:
        """What the server answers."""
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n"
            b"Connection: close\r\n\r\ncanary\n"
        )


@dataclass(slots=True)
class Flight:
    """How far it came. `error`: why it did not start."""

    plan: Plan | None = None
    error: str | None = None
    crossed: bool = False
    watched_tap: str | None = None
    on_tap: bool = False
    on_tap_with_header: bool = False
    sinks: Sequence[str] = ()
    event: Mapping[str, Any] | None = None
    uncorrected: Mapping[str, Any] | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def plan(engine: Mapping[str, Any], choose: random.Random) -> Plan:
    """Choose a connection that the engine (its configuration as JSON has it) takes for proxied.

    Raises CanaryError if each leg fixes the source port, where it could be taken for a real one,
    or no codec of a leg can be written.
    """
    codecs = {codec["name"]: codec for codec in engine["codecs"]}
    fixed = 0
    for gateway in engine["gateways"]:
        if gateway["from_port"] is not None:
            fixed += 1
            continue
        for name in gateway["headers"]:
            ports = choose.choice(PEER_PORTS), DESTINATION_PORT
            for peer, destination in PEERS:
                header = _header(codecs[name], (peer, ports[0]), (destination, ports[1]))
                if header is None:
                    continue
                return Plan(
                    (_host(gateway["from"]), choose.choice(SOURCE_PORTS)),
                    (_host(gateway["to"]), gateway["to_port"] or DESTINATION_PORT),
                    (peer, ports[0]),
                    (destination, ports[1]),
                    name,
                    header * gateway["depth"],
                    f"{choose.getrandbits(64):016x}",
                )
    if fixed == len(engine["gateways"]):
        raise CanaryError(
            "every leg fixes the source port (from: ADDRESS:PORT), and the canary could be taken "
            "for a real connection"
        )
    raise CanaryError("no leg has a codec that the canary can write in front of a connection")


def _header(
    codec: Mapping[str, Any], peer: tuple[str, int], destination: tuple[str, int]
) -> bytes | None:
    if codec["kind"] == SSLPROXY and codec.get("position") == "request":
        return None
    try:
        return peeltap_core.emit_header(orjson.dumps(codec), *peer, *destination)
    except ValueError:
        return None


def _host(network: str) -> str:
    """An address of the network: the only one, or the first that a host can have."""
    parsed = ipaddress.ip_network(network)
    return str(parsed[0] if parsed.num_addresses <= 2 else parsed[1])


def fly(
    engine: Mapping[str, Any],
    bridge: str,
    tap: str,
    sinks: Sequence[Path],
    *,
    seconds: float = EVENT_SECONDS,
    choose: random.Random | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Flight:
    """Send the connection across the bridge, then follow it for `seconds`; `tap` is watched."""
    flight = Flight(sinks=[str(path) for path in sinks])
    began = time.monotonic()
    try:
        made = flight.plan = plan(engine, choose or random.SystemRandom())
        with ExitStack() as stack:
            followers = [Follower(path) for path in sinks]
            for follower in followers:
                stack.callback(follower.close)
            watch = _watch(tap, made, flight)
            if watch is not None:
                stack.callback(watch.close)
            client, server = stack.enter_context(cage(bridge))
            say(f"across {bridge}")
            flight.crossed = _send(made, client, server)
            if flight.crossed:
                say("waiting for its event")
                _follow(flight, made, watch, followers, time.monotonic() + seconds)
    except (CanaryError, CageError) as error:
        flight.error = str(error)
    flight.seconds = time.monotonic() - began
    return flight


def _watch(tap: str, made: Plan, flight: Flight) -> Watch | None:
    try:
        # In restore mode the tap shows the true ports.
        watch = Watch(tap, [made.source[1], made.peer[1]])
    except (OSError, FilterError) as error:
        flight.notes.append(f"{tap} is not watched: {error}")
        return None
    flight.watched_tap = tap
    return watch


def _send(made: Plan, client: Ending, server: Ending) -> bool:
    isns = int.from_bytes(os.urandom(4)), int.from_bytes(os.urandom(4))
    one = frames.End(client.mac, *made.source, isns[0])
    two = frames.End(server.mac, *made.target, isns[1])
    for from_client, frame in frames.conversation(one, two, made.request, made.response):
        sender, receiver = (client, server) if from_client else (server, client)
        sender.send(frame)
        if not receiver.expect(frame, ARRIVAL_SECONDS):
            return False
    return True


def _follow(
    flight: Flight,
    made: Plan,
    watch: Watch | None,
    followers: Sequence[Follower],
    until: float,
) -> None:
    mark = made.token.encode()
    while flight.event is None and time.monotonic() < until:
        if watch is not None:
            # The last one seen on the tap is as good as the first: the request comes once.
            for frame in watch.frames(_POLL_SECONDS):
                if mark in frame:
                    flight.on_tap = True
                    flight.on_tap_with_header = made.header in frame
        else:
            time.sleep(_POLL_SECONDS)
        for follower in followers:
            for line in follower.lines():
                judge(flight, made, line)
        # With its header in front it belongs to no record, and without a file nothing is awaited.
        if flight.on_tap_with_header or (not followers and (flight.on_tap or watch is None)):
            return


def judge(flight: Flight, made: Plan, line: bytes) -> None:
    """Note the line if it is an event of the canary's, corrected or not."""
    leg = {made.source[1], made.target[1]}
    if flight.event is not None or str(made.source[1]).encode() not in line:
        return
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    if not isinstance(event, dict):
        return
    ends = {(event.get("src_ip"), event.get("src_port"))}
    ends.add((event.get("dest_ip"), event.get("dest_port")))
    told = event.get("peeltap")
    observed = told.get("observed") if isinstance(told, dict) else None
    if isinstance(observed, dict):
        ports = {observed.get("src_port"), observed.get("dest_port")}
        if ports == leg and _same(made.peer) in {_same(end) for end in ends}:
            flight.event = event
            return
    if _same(made.source) in {_same(end) for end in ends}:
        flight.uncorrected = event


def _same(end: tuple[Any, Any]) -> tuple[str, Any]:
    """An end with its address in one form: Suricata writes IPv6 out in full."""
    try:
        return str(ipaddress.ip_address(end[0])), end[1]
    except ValueError:
        return str(end[0]), end[1]


def findings(flight: Flight, bridge: str) -> Iterator[Finding]:
    """What the flight tells."""
    topic = "canary"
    if flight.error is not None:
        yield fail(topic, flight.error, "nothing was sent")
        return
    if not flight.crossed:
        yield fail(
            topic,
            f"its frames do not cross {bridge}",
            "look at rules that filter on the bridge (nft list ruleset, ebtables, br_netfilter)",
        )
        return
    if flight.event is not None:
        told = flight.event.get("peeltap", {})
        peer = flight.plan.peer[0] if flight.plan else ""
        yield ok(
            topic,
            f"crossed {bridge} and came back after {flight.seconds:.1f} s as an event of type "
            f"{flight.event.get('event_type')}, from {peer} ({told.get('verdict')})",
        )
        return
    if flight.uncorrected is not None:
        yield fail(
            topic,
            "its event came with the gateways' addresses: Suricata saw it, its flow record was not "
            "found",
            "see events and store in peeltap status; are the events those of this Suricata?",
        )
        return
    if flight.on_tap_with_header:
        yield fail(
            topic,
            f"it is on {flight.watched_tap} with its header still in front",
            "compare gateways (from, to, headers) with peeltap status: connections by verdict",
        )
        return
    if flight.watched_tap is not None and not flight.on_tap:
        yield fail(
            topic,
            f"it crossed {bridge} and did not come to {flight.watched_tap}",
            "does the service run (peeltap status), on this interface, and does capture.filter let "
            "TCP through?",
        )
        return
    where = f"on {flight.watched_tap}, without its header" if flight.on_tap else f"across {bridge}"
    if not flight.sinks:
        yield warn(
            topic,
            f"it is {where}; no sink is a file, so that its event cannot be waited for",
            "sinks: [{file: /var/log/peeltap/events.json}]",
        )
        return
    yield fail(
        topic,
        f"it is {where}, but no event of it came in {flight.seconds:.0f} s",
        "see Suricata's state in peeltap status; does suricata.eve_types have http or flow?",
    )
