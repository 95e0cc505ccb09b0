"""The setup stage: the network that brings attackers to decoys, declared, planned, made, unmade.

    settings ──> desired ──┐
                           ├──> plan ──> steps ──> apply ──> machine (the kernel)
    observed ──────────────┘               │         │
    journal ───────────────┘             words    journal on disk

settings   the topology file's models; `checks` says what only shows in the whole of it
desired    what the file asks for, as things and settings in the order of their making
things     those things and settings: values without behaviour
observed   what the kernel has of them
plan       the steps from the one to the other: pure
steps      a step, its inverse, its form in the journal; `words`: what a person would have typed
apply      carries steps out, with a journal, and takes them back in reverse if one fails
machine    the kernel, in whatever namespace: `netlink`, /proc/sys, `firewall` (nft or iptables)
segments   the part of `desired` about segments, routers and tunnels; `vrfs` that about networks
           that overlap; `names` follow from addresses
journal    what was changed, from which former value, in a file that outlives a crash
"""

from __future__ import annotations


class SetupError(Exception):
    """A step could not be carried out; the text is the reason, in a clause.

    `was_there`: what was to be made is somebody else's.
    """

    def __init__(self, text: str, *, was_there: bool = False) -> None:
        super().__init__(text)
        self.was_there = was_there
