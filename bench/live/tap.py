"""The tap of the benchmark, as Peeltap makes it."""

from __future__ import annotations

import fcntl
import os
import struct

# linux/if_tun.h
TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def open_tap(name: str, *, persistent: bool = False, vnet: bool = True) -> int:
    """The tap of that name, made if it is not there; a descriptor to write frames to."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if vnet else 0)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    if persistent:
        fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
    return descriptor
