"""The kernel's drop of everything that arrives on an interface, behind the packet sockets.

`__netif_receive_skb_core` (net/core/dev.c) serves a received frame in this order: packet sockets,
tc ingress, nftables netdev ingress, the bridge or whatever the interface belongs to, the protocols.
A drop at tc or nftables is therefore seen by Suricata and by nothing else.

`nftables` is the first choice: a netdev base chain with the policy drop and no rule, in a table
that *belongs to the netlink socket* that made it (NFT_TABLE_F_OWNER, Linux 5.12). Another program's
`flush ruleset` does not remove it, and it goes when that socket closes, in whatever way the process
ends: nothing has to be cleaned up.

`BPF` is the fallback, where nftables is absent: a clsact filter of two instructions. It needs
CAP_BPF besides CAP_NET_ADMIN when it is made, and stays with the device. (u32 needs act_gact to
drop, which small kernels lack; this one needs no action.)
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterator
from typing import Protocol

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from tap import TapError

TABLE_PREFIX = "peeltap-"
FILTER_NAME = "peeltap drop"


class Drop(Protocol):
    """A drop that holds until it is closed, or its interface is deleted."""

    def close(self) -> None:
        """Take it away; does nothing when it is gone already."""


def drop(netlink: IPRoute, index: int, name: str) -> Drop:
    """Drop what arrives on interface `index`, called `name`, by the first way that there is.

    Raises TapError if this kernel offers neither.
    """
    try:
        return NftDrop(name)
    except OSError as nftables:
        try:
            return BpfDrop(netlink, index)
        except (OSError, NetlinkError) as bpf:
            raise TapError(
                f"the kernel cannot drop what arrives on {name}: nftables says "
                f"'{os.strerror(nftables.errno or 0)}', BPF '{_reason(bpf)}'; the kernel needs "
                "CONFIG_NF_TABLES_NETDEV (modprobe nf_tables), and we need CAP_NET_ADMIN"
            ) from bpf


def nftables_absent() -> str | None:
    """Why `NftDrop` would be refused, as far as can be told without making one; or None."""
    try:
        for _ in _dropping_tables(""):
            pass
    except OSError as error:
        return os.strerror(error.errno or 0)
    return None


def dropped(netlink: IPRoute, index: int, name: str) -> bool:
    """Whether some drop of ours holds on the interface; also asked by those who made none."""
    try:
        if any(table.startswith(TABLE_PREFIX) for table in _dropping_tables(name)):
            return True
    except OSError:
        pass  # no nftables here: then it is a filter, or nothing
    for message in netlink.get_filters(index=index, parent=TC_INGRESS):
        options = message.get_attr("TCA_OPTIONS")  # absent from the line that only names the kind
        ours = options is not None and options.get_attr("TCA_BPF_NAME") == FILTER_NAME
        if ours and message.get_attr("TCA_KIND") == "bpf":
            return True
    return False


def _reason(error: OSError | NetlinkError) -> str:
    number = error.code if isinstance(error, NetlinkError) else error.errno
    return os.strerror(number or 0)


# --- nftables -------------------------------------------------------------------------------------
# Plain messages on a plain socket: who owns the table is a matter of which socket it is.

NETLINK_NETFILTER = 12

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

# linux/netfilter/nfnetlink.h, nf_tables.h
BATCH_BEGIN, BATCH_END = 0x10, 0x11
SUBSYSTEM = 10
NEWTABLE, DELTABLE, NEWCHAIN, GETCHAIN = (SUBSYSTEM << 8 | kind for kind in (0, 2, 3, 4))
TABLE_NAME, TABLE_FLAGS = 1, 2
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 1, 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY, HOOK_DEVICE, HOOK_DEVICES = 1, 2, 3, 4
TABLE_F_OWNER = 0x2
NFPROTO_NETDEV = 5
NF_NETDEV_INGRESS = 0
NF_DROP = 0
PRIORITY = -500  # as nft's own "filter - 500": before whatever else hooks there


class NftDrop:
    """A chain with the policy drop; `OSError` where the kernel does not take it."""

    def __init__(self, interface: str) -> None:
        self._socket = _netfilter()
        try:
            # The socket's number makes the name unique: a new device may need its drop while the
            # old one's is not yet closed.
            self.table = f"{TABLE_PREFIX}{interface}-{self._socket.getsockname()[0]}"
            table = _text(TABLE_NAME, self.table)
            hook = _number(HOOK_NUMBER, NF_NETDEV_INGRESS)
            hook += _number(HOOK_PRIORITY, PRIORITY) + _text(HOOK_DEVICE, interface)
            chain = _text(CHAIN_TABLE, self.table) + _text(CHAIN_NAME, "ingress")
            chain += _attribute(CHAIN_HOOK | NLA_F_NESTED, hook)
            chain += _number(CHAIN_POLICY, NF_DROP) + _text(CHAIN_TYPE, "filter")
            create = NLM_F_CREATE | NLM_F_EXCL
            _commit(
                self._socket,
                [
                    (NEWTABLE, create, table + _number(TABLE_FLAGS, TABLE_F_OWNER)),
                    (NEWCHAIN, create, chain),
                ],
            )
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Take the table away with the socket that owns it, after saying so.

        The kernel alone would do it as well, a moment later, in the background.
        """
        if self._socket.fileno() == -1:
            return
        try:
            _commit(self._socket, [(DELTABLE, 0, _text(TABLE_NAME, self.table))])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        finally:
            self._socket.close()


def _netfilter() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    made = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
    made.settimeout(5.0)
    made.bind((0, 0))
    return made


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def _message(kind: int, flags: int, body: bytes, sequence: int, resource: int = 0) -> bytes:
    family = NFPROTO_NETDEV if kind >> 8 else 0
    payload = struct.pack(">BBH", family, 0, resource) + body
    length = 16 + len(payload)
    return struct.pack("=IHHII", length, kind, flags | NLM_F_REQUEST, sequence, 0) + payload


def _commit(to: socket.socket, changes: list[tuple[int, int, bytes]]) -> None:
    """Have all changes made or none; raises the first `OSError` that the kernel answers."""
    batch = _message(BATCH_BEGIN, 0, b"", 0, SUBSYSTEM)
    for sequence, (kind, flags, body) in enumerate(changes, start=1):
        batch += _message(kind, flags | NLM_F_ACK, body, sequence)
    to.send(batch + _message(BATCH_END, 0, b"", len(changes) + 1, SUBSYSTEM))
    open_answers = set(range(1, len(changes) + 1))
    first = 0
    while open_answers:
        for kind, sequence, payload in _messages(to.recv(65536)):
            if kind == NLMSG_ERROR:
                first = first or -struct.unpack_from("=i", payload)[0]
                # A refusal of the batch itself answers for all that is in it.
                open_answers = open_answers - {sequence} if sequence else set()
    if first:
        raise OSError(first, os.strerror(first))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, at)
        yield kind, sequence, data[at + 16 : at + length]
        at += max(16, length + 3 & ~3)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        yield kind & NLA_TYPE_MASK, data[at + 4 : at + length]
        at += max(4, length + 3 & ~3)


def _dropping_tables(interface: str) -> Iterator[str]:
    """The tables that have a chain on the interface's ingress with the policy drop."""
    wanted = interface.encode()
    with _netfilter() as asked:
        asked.send(_message(GETCHAIN, NLM_F_DUMP, b"", 1))
        while True:
            for kind, _, payload in _messages(asked.recv(65536)):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    raise OSError(number, os.strerror(number))
                chain = dict(_attributes(payload[4:]))
                hook = dict(_attributes(chain.get(CHAIN_HOOK, b"")))
                # One device or several; newer kernels say it in both ways.
                names = [value for _, value in _attributes(hook.get(HOOK_DEVICES, b""))]
                names.append(hook.get(HOOK_DEVICE, b""))
                ingress = hook.get(HOOK_NUMBER) == struct.pack(">I", NF_NETDEV_INGRESS)
                drops = chain.get(CHAIN_POLICY) == struct.pack(">I", NF_DROP)
                if ingress and drops and wanted in (name.rstrip(b"\0") for name in names):
                    yield chain[CHAIN_TABLE].rstrip(b"\0").decode(errors="replace")


# --- BPF ------------------------------------------------------------------------------------------

BPF_PROG_LOAD = 5
BPF_PROG_TYPE_SCHED_CLS = 3
SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
TC_INGRESS = 0xFFFFFFF2
TC_ACT_SHOT = 2
ETH_P_ALL = 3

# mov32 r0, TC_ACT_SHOT; exit (Documentation/bpf/standardization/instruction-set.rst)
PROGRAM = struct.pack("=BBhi", 0xB4, 0, 0, TC_ACT_SHOT) + struct.pack("=BBhi", 0x95, 0, 0, 0)


class BpfDrop:
    """A clsact filter that says drop; `OSError` or `NetlinkError` where the kernel does not."""

    def __init__(self, netlink: IPRoute, index: int) -> None:
        self._index = index
        program = _load(PROGRAM)
        try:
            try:
                netlink.tc("add", "clsact", index)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
            netlink.tc(
                "replace-filter",
                "bpf",
                index,
                1,
                fd=program,
                name=FILTER_NAME,
                parent=TC_INGRESS,
                direct_action=True,
                classid=1,
                prio=1,
                protocol=ETH_P_ALL,
            )
        finally:
            os.close(program)

    def close(self) -> None:
        """Take the qdisc and its filter off the interface."""
        with IPRoute() as netlink:
            try:
                netlink.tc("del", "clsact", self._index)
            except NetlinkError as error:
                if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                    raise


def _load(program: bytes) -> int:
    number = SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    code = ctypes.create_string_buffer(program)
    terms = ctypes.create_string_buffer(b"Apache-2.0")
    # union bpf_attr of BPF_PROG_LOAD (linux/bpf.h), up to the license; what follows is zero.
    attribute = struct.pack(
        "=IIQQ",
        BPF_PROG_TYPE_SCHED_CLS,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(terms),
    )
    given = ctypes.create_string_buffer(attribute + bytes(48))
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.syscall(number, BPF_PROG_LOAD, given, len(given.raw) - 1)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor
