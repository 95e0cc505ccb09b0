"""vtap0 itself: made, adopted from an earlier run, deleted.

A persistent tap stays when the service ends, so that Suricata's packet sockets stay good. It is
recognised as ours by its alias (`ip link show` prints it); a device of that name without the mark
is somebody else's and is left alone. One of ours that was made in another form (one queue, where
several are needed) is deleted and made anew: the kernel cannot change it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytun  # type: ignore[import-not-found]
from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from tap import TapError
from tap.links import Link, Tun, find, snapshot
from tap.quarantine import Quarantine, isolate
from tap.settings import TapSettings

MARK = "peeltap's: made, and deleted, by it"

# linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNSETPERSIST = 0x400454CB
TUNSETOWNER = 0x400454CC
TUNSETGROUP = 0x400454CE
TUNSETVNETHDRSZ = 0x400454D8

VNET_HEADER = 10
"""Bytes of `struct virtio_net_hdr`, as the packet sockets' PACKET_VNET_HDR has it too."""

# Nobody reads from the tap: what the host sends there is thrown away behind the first frame.
QUEUE_LENGTH = 1

_NO_TUN = (
    "this machine offers no /dev/net/tun (modprobe tun; in a container, pass the device to it)"
)


@dataclass
class Device:
    """An open tap in quarantine; its queues' descriptors are `fds`."""

    name: str
    index: int
    fds: list[int]
    adopted: bool
    quarantine: Quarantine

    def close(self) -> None:
        """Close the queues, upon which the kernel deletes a tap that is not persistent."""
        for descriptor in self.fds:
            os.close(descriptor)
        self.fds.clear()
        self.quarantine.close()


def refusal(link: Link) -> str | None:
    """Why an existing interface may not become our tap; None if it is ours and free."""
    if link.tun is None or not link.tun.is_tap:
        kind = link.kind or "hardware"
        return f"there is an interface {link.name} already, and it is no tap ({kind})"
    if not (link.alias or "").startswith(MARK):
        return f"there is a tap {link.name} already, and it is not of our making"
    if link.carrier:
        return f"the tap {link.name} is in use by another process, perhaps another peeltap"
    return None


def fits(tun: Tun, queues: int) -> bool:
    """Whether a tap was made in the form that is needed now."""
    return tun.vnet_hdr and not tun.packet_info and tun.multi_queue == (queues > 1)


def open_device(settings: TapSettings, mtu: int, queues: int, before: Sequence[int] = ()) -> Device:
    """Make the tap, or adopt it, in quarantine and up; `TapError` says why not.

    `mtu` is used where the settings name none. `before` are the descriptors of a tap that was
    deleted from outside: they can be attached to the new one where /dev/net/tun can no longer be
    opened.
    """
    spares = [os.dup(descriptor) for descriptor in before]
    try:
        with IPRoute() as netlink:
            return _open(netlink, settings, settings.mtu or mtu, queues, spares)
    except NetlinkError as error:
        raise TapError(
            f"the tap {settings.name} cannot be set up: {os.strerror(error.code)}"
            + _privilege(error.code)
        ) from error
    except OSError as error:
        raise TapError(
            f"the tap {settings.name} cannot be set up: {error.strerror}"
            + _privilege(error.errno or 0)
        ) from error
    finally:
        for descriptor in spares:
            os.close(descriptor)


def delete_device(name: str) -> bool:
    """Delete a tap of ours, persistent or not; False if there is none. `TapError` if not ours."""
    with IPRoute() as netlink:
        link = find(snapshot(netlink), name)
        if link is None:
            return False
        if reason := refusal(link):
            raise TapError(reason)
        netlink.link("del", index=link.index)
    return True


def _privilege(number: int) -> str:
    return "; it needs CAP_NET_ADMIN" if number in (errno.EPERM, errno.EACCES) else ""


def _open(
    netlink: IPRoute, settings: TapSettings, mtu: int, queues: int, spares: list[int]
) -> Device:
    name = settings.name
    present = find(snapshot(netlink), name)
    if present is not None:
        if reason := refusal(present):
            raise TapError(f"{reason}; delete it (ip link delete {name}) or set another tap.name")
        if present.tun is not None and not fits(present.tun, queues):
            netlink.link("del", index=present.index)
            present = None
    with ExitStack() as undo:
        opened: list[int] = []
        for at in range(queues):
            # EXCL: what appeared under that name since we looked is not ours.
            new = present is None and at == 0
            opened.append(_queue(name, several=queues > 1, exclusive=new, spares=spares))
            undo.callback(os.close, opened[-1])
        for queue in opened:
            fcntl.ioctl(queue, TUNSETVNETHDRSZ, struct.pack("=i", VNET_HEADER))
        # A persistent tap without an owner could be opened, and fed, by any user.
        owner = settings.owner_id()
        owner_now = present.tun.owner if present is not None and present.tun is not None else None
        if owner is not None or owner_now is None:
            user = os.geteuid() if owner is None else owner
            fcntl.ioctl(opened[0], TUNSETOWNER, user)
        group = settings.group_id()
        if group is not None:
            fcntl.ioctl(opened[0], TUNSETGROUP, group)
        [index] = netlink.link_lookup(ifname=name)
        netlink.link("set", index=index, ifalias=MARK, mtu=mtu, txqlen=QUEUE_LENGTH)
        quarantine = isolate(netlink, index, name)
        undo.callback(quarantine.close)
        netlink.link("set", index=index, state="up")
        # Last: what is not finished must not stay.
        fcntl.ioctl(opened[0], TUNSETPERSIST, int(settings.persistent))
        undo.pop_all()
    return Device(name, index, opened, present is not None, quarantine)


def _queue(name: str, *, several: bool, exclusive: bool, spares: list[int]) -> int:
    """A descriptor of one queue of the tap; one of `spares` where the file may not be opened."""
    flags = pytun.IFF_TAP | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR
    flags |= pytun.IFF_MULTI_QUEUE if several else 0
    flags |= pytun.IFF_TUN_EXCL if exclusive else 0
    try:
        try:
            made = pytun.TunTapDevice(name, flags)
        except pytun.Error as error:
            if error.args[0] != errno.EACCES or not spares:
                raise
            # Whoever made the first one as root and gave that up may not open the file again.
            fcntl.ioctl(spares[-1], TUNSETIFF, struct.pack("=16sH22x", name.encode(), flags))
            return spares.pop()
    except OSError as error:
        raise TapError(f"the tap {name} cannot be opened: {_reason(error.args[0])}") from error
    try:
        return os.dup(made.fileno())
    finally:
        made.close()


def _reason(number: int) -> str:
    match number:
        case errno.EBUSY:
            return "it is in use by another process, perhaps another peeltap"
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return _NO_TUN
        case errno.EPERM:
            return "it needs CAP_NET_ADMIN"
        case errno.EACCES:
            return "this user may not write to /dev/net/tun (chmod 0666, as udev does, is harmless)"
        case errno.EINVAL:
            return "this kernel makes no tap of this kind under that name"
        case _:
            return os.strerror(number)
