"""`--filter`: a libpcap expression, compiled by libpcap itself.

The classic BPF program that comes out is run by the core on every packet. libpcap is loaded from
the system when a filter is asked for; nothing else needs it. Source: pcap_compile(3PCAP).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import RunError, UsageError
from pipeline.outputs import STANDARD

Instruction = tuple[int, int, int, int]
"""code, jt, jf, k of one `struct bpf_insn`."""

LINKTYPE_ETHERNET = 1
_DLT = {101: 12}
"""Where libpcap's own number on Linux is not the file's: raw IP."""
_PCAP = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_INTERFACE = 1

_NETMASK_UNKNOWN = 0xFFFFFFFF
_SNAPLEN = 262144


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


def _library() -> ctypes.CDLL:
    for name in ("libpcap.so.1", "libpcap.so.0.8", ctypes.util.find_library("pcap")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            library.pcap_open_dead.restype = ctypes.c_void_p
            library.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
            library.pcap_compile.argtypes = [
                ctypes.c_void_p,
                ctypes.POINTER(_Program),
                ctypes.c_char_p,
                ctypes.c_int,
                ctypes.c_uint32,
            ]
            library.pcap_geterr.restype = ctypes.c_char_p
            library.pcap_geterr.argtypes = [ctypes.c_void_p]
            library.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
            library.pcap_close.argtypes = [ctypes.c_void_p]
            return library
    raise RunError("--filter needs libpcap, which is not installed; on Debian: libpcap0.8")


def compile_filter(expression: str, inputs: Sequence[str]) -> list[Instruction]:
    """Compile `expression` for the packets of `inputs`.

    Raises UsageError with libpcap's own words where the expression is wrong, and where inputs of
    several link types would need several programs; RunError where libpcap is absent.
    """
    types = {link_type(name) for name in inputs if name != STANDARD}
    # What comes on standard input cannot be looked at and then read again.
    if len(types) > 1:
        raise UsageError(
            "--filter: the inputs are of several link types, and offsets differ; "
            "filter each alone, or leave the filter out"
        )
    return _compile(expression, types.pop() if types else LINKTYPE_ETHERNET)


def link_type(name: str) -> int:
    """Give the LINKTYPE number at the head of a capture; Ethernet where it is not to be seen.

    What is wrong with the file is for the core to say.
    """
    try:
        with Path(name).open("rb") as stream:
            head = stream.read(4096) if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else b""
    except OSError:
        return LINKTYPE_ETHERNET
    if head[:4] in _PCAP and len(head) >= 24:
        (number,) = struct.unpack_from(f"{_PCAP[head[:4]]}I", head, 20)
        return int(number) & 0xFFFF
    if head[:4] == _SECTION and len(head) >= 16:
        order = "<" if head[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
        at = 0
        while at + 12 <= len(head):
            kind, length = struct.unpack_from(f"{order}II", head, at)
            if kind == _INTERFACE:
                return int(struct.unpack_from(f"{order}H", head, at + 8)[0])
            if length < 12:
                break
            at += length
    return LINKTYPE_ETHERNET


def _compile(expression: str, link: int) -> list[Instruction]:
    library = _library()
    handle = library.pcap_open_dead(_DLT.get(link, link), _SNAPLEN)
    program = _Program()
    try:
        if library.pcap_compile(
            handle, ctypes.byref(program), expression.encode(), 1, _NETMASK_UNKNOWN
        ):
            reason = library.pcap_geterr(handle).decode(errors="replace")
            raise UsageError(f"--filter {expression!r}: {reason}")
        try:
            return [
                (one.code, one.jt, one.jf, one.k) for one in program.instructions[: program.length]
            ]
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
