"""Compiles a capture filter with libpcap; the core runs what comes out.

libpcap is called through its C interface (pcap_open_dead(3PCAP), pcap_compile(3PCAP)):
python-libpcap applies filters to handles of its own and does not give the compiled program away.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from collections.abc import Iterator

Instruction = tuple[int, int, int, int]
"""code, jt, jf, k of one ``struct bpf_insn``."""

LINK_TYPES = (1, 0, 12, 14, 101, 108, 113, 228, 229, 276)
"""The LINKTYPE_ values whose frames the core reads; Ethernet first."""

_RAW = 12
_DLT = {14: _RAW, 101: _RAW}
"""Where libpcap's own number (DLT_) on Linux is not the file's."""

_NETMASK_UNKNOWN = 0xFFFFFFFF


class FilterError(ValueError):
    """An expression cannot be compiled.

    FilterError             the expression is wrong; the text has libpcap's own words
    └── LibpcapAbsentError  libpcap is not installed; the text says what to install
    """


class LibpcapAbsentError(FilterError):
    """There is no libpcap to compile with."""


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


@functools.cache
def _library() -> ctypes.CDLL:
    for name in _names():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p,
            ctypes.POINTER(_Program),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint32,
        )
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = (ctypes.c_void_p,)
        library.pcap_freecode.argtypes = (ctypes.POINTER(_Program),)
        library.pcap_freecode.restype = None
        library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_close.restype = None
        return library
    raise LibpcapAbsentError(
        "a capture filter needs libpcap, which is not installed; on Debian: libpcap0.8"
    )


def _names() -> Iterator[str]:
    yield from ("libpcap.so.0.8", "libpcap.so.1")
    # Last: it may start ldconfig and a compiler to look.
    if name := ctypes.util.find_library("pcap"):
        yield name


def compile_filter(
    expression: str, link_type: int = LINK_TYPES[0], snaplen: int = 262144
) -> list[Instruction]:
    """Compile `expression` (pcap-filter(7)) for frames of one LINKTYPE_ value.

    Raises FilterError with libpcap's own words where the expression is wrong or does not fit the
    link type, LibpcapAbsentError where libpcap is not installed.
    """
    library = _library()
    if "\0" in expression:
        raise FilterError(f"{expression!r}: a NUL cannot be in it")
    handle = library.pcap_open_dead(_DLT.get(link_type, link_type), snaplen)
    if not handle:
        raise FilterError(f"{expression!r}: libpcap knows no link type {link_type}")
    program = _Program()
    try:
        if library.pcap_compile(
            handle, ctypes.byref(program), expression.encode(), 1, _NETMASK_UNKNOWN
        ):
            reason = library.pcap_geterr(handle).decode(errors="replace")
            raise FilterError(f"{expression!r}: {reason}")
        try:
            found = program.instructions[: program.length]
            return [(one.code, one.jt, one.jf, one.k) for one in found]
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)


def compile_filters(expression: str) -> dict[int, list[Instruction]]:
    """Compile `expression` for each link type that it can be applied to, as `Replay` takes it.

    The link type of a capture need not be known: not of standard input, not of several inputs that
    differ. An expression may not fit all of them (`ether host` has no meaning for raw IP); one that
    fits none is wrong.

    Raises FilterError as Ethernet's, which says most; LibpcapAbsentError.
    """
    programs: dict[int, list[Instruction]] = {}
    first: FilterError | None = None
    for link_type in LINK_TYPES:
        try:
            programs[link_type] = compile_filter(expression, link_type)
        except LibpcapAbsentError:
            raise
        except FilterError as error:
            first = first or error
    if not programs and first is not None:
        raise first
    return programs
