"""The tap: where the regenerated packets go, kept apart from the host's own network.

settings    the `tap:` section of the configuration
output      what the datapath writes to: the tap, or a packet socket on an existing interface
device      vtap0 itself: made, adopted from an earlier run, deleted
quarantine  what keeps the host from answering what is injected; what of it no longer holds
drop        the kernel's drop behind the packet sockets, by nftables or by BPF
echo        whether what is sent out of an interface would come back into the capture
links       what the kernel says of interfaces, as plain values

                        settings
                            │
    datapath <── fds ── output ──> device ──> quarantine ──> drop
                            └────> echo

The host sees every injected packet arrive on the tap. Packet sockets (Suricata's, tcpdump's) come
first in the kernel's receive path; the drop comes next, before bridges, ARP and IP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tap.output import Output as Output
    from tap.output import open_output as open_output


class TapError(Exception):
    """The tap cannot be had as configured; the text says why and what helps, in a sentence."""


def __getattr__(name: str) -> Any:
    # pyroute2 takes half a second: whoever only checks the configuration does without it.
    if name in ("Output", "open_output"):
        import tap.output

        return getattr(tap.output, name)
    raise AttributeError(f"module 'tap' has no attribute {name!r}")
