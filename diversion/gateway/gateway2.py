"""gateway2: the leg's header in, to the decoy as the peer."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack

from diversion.gateway.parse import Header, reader
from diversion.gateway.settings import Gateway2Settings, GatewaySettings, LegListen
from diversion.proxy.addresses import Ends
from diversion.proxy.hub import Hub
from diversion.proxy.link import Link
from diversion.proxy.listener import listen
from diversion.snat.iptables import IptablesSource
from diversion.snat.nft import NftSource
from diversion.snat.source import Lease, OwnSource, Source
from diversion.snat.transparent import TransparentSource


class Gateway2:
    """Everything of one gateway2."""

    def __init__(self, settings: GatewaySettings, hub: Hub) -> None:
        if settings.gateway2 is None:
            raise ValueError("no gateway2 in these settings")
        self._settings = settings.gateway2
        self._codec = settings.codec
        self._hub = hub
        self.source = make_source(self._settings, hub)
        self._trusted: dict[str, bool] = {}

    def start(self) -> None:
        """Listen, then set up the source; OSError, SourceError.

        In this order: whoever is started while another serves fails at its addresses, and has not
        touched the other's source by then.
        """
        with ExitStack() as undo:
            listeners = []
            for one in self._settings.listen:
                listener = undo.enter_context(listen(one.address))
                self._hub.keep_alive(listener)  # for those that come before it is served
                listeners.append((listener, one))
            self.source.open()
            undo.pop_all()
        for listener, one in listeners:
            self._serve(listener, one)

    def stop(self) -> None:
        """Take down the source; after the last connection."""
        self.source.close()

    def _serve(self, listener: socket.socket, one: LegListen) -> None:
        parse = reader([self._codec(name) for name in one.headers])

        def headed(link: Link, found: object) -> None:
            self._headed(link, found, one)

        def accepted(sock: socket.socket, address: Ends) -> None:
            link = Link(self._hub, sock, address)
            if self._is_trusted(address[0]):
                link.read_head(parse, headed)
            else:
                # A header of anybody else is forged; a connection without one has no business here.
                link.end("untrusted", reset=True)

        self._hub.serve(listener, accepted)

    def _is_trusted(self, address: str) -> bool:
        known = self._trusted.get(address)
        if known is None:
            if len(self._trusted) > 4096:
                self._trusted.clear()
            value = ipaddress.ip_address(address)
            known = any(value in network for network in self._settings.trusted)
            self._trusted[address] = known
        return known

    def _headed(self, link: Link, found: object, one: LegListen) -> None:
        if not isinstance(found, Header):
            link.end("local")
            return
        if not link.announce(found.peer, found.destination):
            return
        try:
            decoy = choose(one, found, any_family=self._settings.source == "own")
        except LookupError as error:
            link.end(str(error.args[0]), reset=True)
            return
        try:
            sock = self._hub.socket_to(decoy)
        except OSError:
            link.end("limit_files", reset=True)
            return
        self._as_peer(link, sock, found.peer, decoy)

    def _as_peer(self, link: Link, sock: socket.socket, peer: Ends, decoy: Ends) -> None:
        lease: Lease | None = None
        early: list[str | None] = []

        def again() -> socket.socket | None:
            try:
                other = self._hub.socket_to(decoy)
            except OSError:
                return None
            if lease is not None and lease.rebind(other):
                return other
            other.close()
            return None

        def go(why: str | None) -> None:
            if lease is None:
                early.append(why)
            elif not link.is_open:
                sock.close()
            elif why is not None:
                sock.close()
                link.end("source_failed", reset=True, why=why)
            else:
                link.bring(sock, decoy, again=again)

        lease = self.source.begin(sock, peer, decoy, go)
        link.on_end = lease.over
        for why in early:
            go(why)


def choose(one: LegListen, header: Header, *, any_family: bool = False) -> Ends:
    """The decoy for a header; LookupError with the word for why there is none.

    A connection that shall have the peer's address can only be of the peer's IP version.
    """
    decoys = one.decoy
    for choice in one.decoys:
        if header.destination in choice.destination:
            decoys = [header.destination] if choice.decoy == "destination" else choice.decoy
            break
    if decoys is None:
        raise LookupError("no_rule")
    for decoy in decoys:
        if (":" in decoy[0]) == (":" in header.peer[0]):
            return decoy
    if any_family:
        return decoys[0]
    raise LookupError("no_family")


def make_source(settings: Gateway2Settings, hub: Hub) -> Source:
    """The source that is configured."""
    match settings.source:
        case "nftables":
            return NftSource(hub.loop, settings.name)
        case "iptables":
            return IptablesSource(hub.loop, settings.name)
        case "transparent":
            ranges = [one for listener in settings.listen for one in listener.ranges]
            return TransparentSource(ranges, settings.table)
        case _:
            return OwnSource()
