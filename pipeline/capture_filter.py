"""`--filter`: a libpcap expression, compiled by libpcap itself.

The classic BPF program that comes out is run by the core on every packet. libpcap is loaded from
the system when a filter is asked for; nothing else needs it. Source: pcap_compile(3PCAP).
"""

from __future__ import annotations

import ctypes
import ctypes.util

from pipeline.errors import RunError, UsageError

Instruction = tuple[int, int, int, int]
"""code, jt, jf, k of one `struct bpf_insn`."""

LINK_TYPES = (1, 0, 101, 108, 113, 228, 229, 276)
"""LINKTYPE numbers: Ethernet, null, raw IP, loop, cooked v1, IPv4, IPv6, cooked v2."""

_DLT = {101: 12}
"""Where libpcap's own number on Linux is not the file's."""

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


def compile_filter(expression: str) -> dict[int, list[Instruction]]:
    """Compile `expression` for every link type that can be read.

    A link type for which it means nothing (`ether host` of raw IP) is left out. Raises UsageError
    with libpcap's own words where the expression is wrong for all, RunError where libpcap is
    absent.
    """
    library = _library()
    programs: dict[int, list[Instruction]] = {}
    wrong: UsageError | None = None
    for link_type in LINK_TYPES:
        try:
            programs[link_type] = _compile(library, expression, _DLT.get(link_type, link_type))
        except UsageError as error:
            # The first is Ethernet's, which says most.
            wrong = wrong or error
    if wrong is not None and not programs:
        raise wrong
    return programs


def _compile(library: ctypes.CDLL, expression: str, link: int) -> list[Instruction]:
    handle = library.pcap_open_dead(link, _SNAPLEN)
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
