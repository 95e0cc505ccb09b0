"""Who attacked whom: an event's two ends by role, whatever its packet's direction.

An event's root names sender and receiver of a packet or a transaction; a signature on the server's
answer makes an alert that runs from the decoy to the attacker. The role is told, the first that
speaks wins, by

1. `peeltap.direction`: the flow record knows the client;
2. a rule's `target`: `alert.source` and `alert.target`;
3. `flow.src_ip`: alerts and drops name the flow's own ends;
4. `frame.direction`, and the root's `direction` in the types that write one;
5. nothing: the root's own direction.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .values import Event, child, ip, port

TO_SERVER: Final = ("to_server", "toserver")
TO_CLIENT: Final = ("to_client", "toclient")


class End(NamedTuple):
    """An address and a port, as far as they are known."""

    ip: str | None
    port: int | None


NOBODY: Final = End(None, None)
_NO_LEG: Final = (NOBODY, NOBODY)


class Ends(NamedTuple):
    """The attacker, the attacked decoy, and where both were seen on the proxied leg.

    `to_server`: whether the event's root runs from the attacker to the decoy. `known`: whether a
    flow record told the roles. `proxied`: whether a header named the ends, so that the leg's are
    others.
    """

    attacker: End
    decoy: End
    leg_attacker: End
    leg_decoy: End
    to_server: bool
    known: bool
    proxied: bool


def ends(event: Event) -> Ends:
    """The ends of a corrected event; never raises."""
    peeltap = child(event, "peeltap")
    observed = child(peeltap, "observed")
    root = _pair(event, "src_ip", "src_port", "dest_ip", "dest_port")
    leg = _pair(observed, "src_ip", "src_port", "dest_ip", "dest_port") if observed else _NO_LEG
    known = _direction(peeltap.get("direction"))
    to_server = known
    if to_server is None:
        told = _told_by_rule(event)
        if told is not None:
            return Ends(*told, *_NO_LEG, told[0].ip == root[0].ip, False, False)
        to_server = _told_by_flow(event, root)
    if to_server is None:
        to_server = True
    if not to_server:
        root, leg = root[::-1], leg[::-1]
    proxied = bool(observed) and leg != root
    return Ends(*root, *leg, to_server, known is not None, proxied)


def _pair(
    holder: Event, src_ip: str, src_port: str, dest_ip: str, dest_port: str
) -> tuple[End, End]:
    get = holder.get
    return End(ip(get(src_ip)), port(get(src_port))), End(ip(get(dest_ip)), port(get(dest_port)))


def _direction(value: object) -> bool | None:
    if value in TO_SERVER:
        return True
    return False if value in TO_CLIENT else None


def _told_by_rule(event: Event) -> tuple[End, End] | None:
    alert = event.get("alert")
    if type(alert) is not dict:
        return None
    source, target = child(alert, "source"), child(alert, "target")
    if not source or not target:
        return None
    return (
        End(ip(source.get("ip")), port(source.get("port"))),
        End(ip(target.get("ip")), port(target.get("port"))),
    )


def _told_by_flow(event: Event, root: tuple[End, End]) -> bool | None:
    flow = child(event, "flow")
    if "src_ip" in flow:
        own = _pair(flow, "src_ip", "src_port", "dest_ip", "dest_port")
        if own == root:
            return True
        if own == root[::-1]:
            return False
        # Packets without ports (fragments) are told by their addresses.
        if own[0].ip != own[1].ip:
            if (own[0].ip, own[1].ip) == (root[0].ip, root[1].ip):
                return True
            if (own[0].ip, own[1].ip) == (root[1].ip, root[0].ip):
                return False
    told = _direction(child(event, "frame").get("direction"))
    return _direction(event.get("direction")) if told is None else told
