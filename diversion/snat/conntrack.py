"""What conntrack remembers of connections that are over, and how it forgets them.

A peer may come again from the same port, to another address that leads to the same decoy; scanners
do it all the time. conntrack keeps the last connection for two minutes, and would drop the SYN of
the new one, since both look the same to the decoy. And where a local port is used again, it would
give the new connection the addresses of the last one, whose peer would then be taken for the new.

Source: linux/netfilter/nfnetlink_conntrack.h (IPCTNL_MSG_CT_DELETE).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from diversion.proxy.addresses import Ends
from diversion.snat.netlink import NLM_F_ACK, Netfilter, attribute, message, nested

NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_DELETE = 2

# Attributes: CTA_TUPLE_ORIG, CTA_TUPLE_REPLY; CTA_TUPLE_IP, CTA_TUPLE_PROTO; CTA_IP_*; CTA_PROTO_*.
_ORIGINAL, _REPLY, _IP, _PROTO = 1, 2, 1, 2
_ADDRESSES = {socket.AF_INET: (1, 2), socket.AF_INET6: (3, 4)}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3

MOST = 64
"""Messages at a time; their answers must fit into a socket's buffer."""


class Conntrack:
    """Makes conntrack forget."""

    def __init__(self) -> None:
        self._netfilter = Netfilter()

    def forget(
        self, seen: Sequence[tuple[Ends, Ends]], made: Sequence[tuple[Ends, Ends]] = ()
    ) -> None:
        """Forget connections, if there are any.

        `seen` are (peer, decoy) each, as the decoy sees them; `made` (local, decoy), as they are
        here. They must be over: what still comes of them is no longer translated. OSError.
        """
        tuples = [(_REPLY, decoy, peer) for peer, decoy in seen]
        tuples += [(_ORIGINAL, local, decoy) for local, decoy in made]
        for start in range(0, len(tuples), MOST):
            messages = []
            sequence = 0
            for direction, source, destination in tuples[start : start + MOST]:
                sequence = self._netfilter.next()
                messages.append(_delete(sequence, direction, source, destination))
            # That there is none is the usual answer.
            self._netfilter.ask(b"".join(messages), sequence)

    def close(self) -> None:
        """Close the socket."""
        self._netfilter.close()


def _delete(sequence: int, direction: int, source: Ends, destination: Ends) -> bytes:
    """By the addresses of its packets in one direction."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    from_, to = _ADDRESSES[family]
    addresses = attribute(from_, socket.inet_pton(family, source[0]))
    addresses += attribute(to, socket.inet_pton(family, destination[0]))
    protocol = attribute(_NUMBER, bytes([socket.IPPROTO_TCP]))
    protocol += attribute(_SOURCE_PORT, struct.pack(">H", source[1]))
    protocol += attribute(_DESTINATION_PORT, struct.pack(">H", destination[1]))
    body = nested(direction, nested(_IP, addresses) + nested(_PROTO, protocol))
    kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE
    return message(kind, NLM_F_ACK, sequence, family, 0, body)
