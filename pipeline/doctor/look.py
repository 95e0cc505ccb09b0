"""Finds the facts out. Reads and probes; changes nothing, on disk or in the network.

Every look that fails is a fact of its own, with the reason: the doctor is asked when things are
not as they should be, and by people who are not root.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from pipeline import privileges
from pipeline.control import Client, ControlError, NotRunningError
from pipeline.doctor.machine import Directory, Machine
from pipeline.doctor.network import Network
from pipeline.doctor.sensor import Sensor
from pipeline.doctor.service import Answer
from suricata import command, live_config, process
from suricata.rules import unreadable
from suricata.settings import ExternalSuricata, SuricataSettings
from tap.drop import dropped, nftables_absent
from tap.links import Link, find, snapshot
from tap.settings import TapSettings

# linux/if_packet.h
SOL_PACKET: Final = 263
PACKET_VERSION: Final = 10
TPACKET_V3: Final = 2

# linux/sockios.h, ethtool.h
SIOCETHTOOL: Final = 0x8946
ETHTOOL_GTSO: Final = 0x1E
ETHTOOL_GGSO: Final = 0x23
ETHTOOL_GFLAGS: Final = 0x25
ETHTOOL_GGRO: Final = 0x2B
ETH_FLAG_LRO: Final = 1 << 15

# linux/timex.h
TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 208

_DUMP_SECONDS: Final = 30.0
_TEST_SECONDS: Final = 300.0
_ASK_SECONDS: Final = 5.0


def machine(directories: Mapping[str, Path], run_as: str | None) -> Machine:
    """Look at the machine; `directories` are those that the service writes to, by their use."""
    effective = privileges.held()
    error, user = None, None
    if run_as is not None:
        try:
            user = privileges.User.find(run_as)
        except privileges.PrivilegeError as reason:
            error = str(reason).removeprefix("run_as: ")
    uid = user.uid if user is not None else os.geteuid()
    groups = {user.gid, *user.groups} if user is not None else {os.getegid(), *os.getgroups()}
    return Machine(
        capabilities=frozenset(
            name for number, name in privileges.KEPT.items() if effective >> number & 1
        ),
        user=_name(os.geteuid()),
        release=os.uname().release,
        ring_error=_ring(),
        tun_error=_tun(),
        drop_error=nftables_absent(),
        clock_synchronised=_clock(),
        directories=[
            directory(path, used_for, uid, groups) for used_for, path in directories.items()
        ],
        run_as=run_as,
        run_as_error=error,
    )


def directory(path: Path, used_for: str, uid: int, groups: Iterable[int]) -> Directory:
    """Look at a directory, or at the nearest above it that is there.

    The service has given up the power over others' files, so that not even root may write
    everywhere: owner and mode decide. What is not there yet root makes before it gives that up.
    """
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    exists, error = nearest == path, None
    try:
        found, room = nearest.stat(), os.statvfs(nearest)
    except OSError as reason:
        return Directory(str(path), used_for, exists, reason.strerror, _name(uid))
    if not nearest.is_dir():
        error = f"{nearest} is no directory"
    elif room.f_flag & os.ST_RDONLY:
        error = "its file system is mounted read-only"
    elif exists or os.geteuid() != 0:
        bits = found.st_mode >> (6 if found.st_uid == uid else 3 if found.st_gid in groups else 0)
        if bits & 0o3 != 0o3:
            error = f"{nearest} belongs to {_name(found.st_uid)}, mode {found.st_mode & 0o777:o}"
    return Directory(
        str(path),
        used_for,
        exists,
        error,
        _name(uid),
        room.f_bavail * room.f_frsize,
        room.f_favail if room.f_files else None,
    )


def network(
    capture: str, promiscuous: bool, tap: TapSettings, superframes: str, workers: int = 1
) -> Network:
    """Look at the interfaces."""
    with IPRoute() as netlink:
        links = snapshot(netlink)
        link = find(links, tap.device)
        try:
            held = dropped(netlink, link.index, link.name) if link is not None else None
        except (OSError, NetlinkError):
            held = None
        if not held and not _may_list():
            held = None
    return Network(
        links=links,
        capture=capture,
        promiscuous=promiscuous,
        superframes=superframes,
        device=tap.device,
        makes_tap=tap.interface is None,
        workers=workers,
        offloads=dict(_offloads(links, capture)),
        dropped=held,
    )


def sensor(
    settings: SuricataSettings, device: str, superframes: str, *, test_rules: bool
) -> Sensor:
    """Look at Suricata; `test_rules` lets it read them, which may take a minute."""
    if settings.external is not None:
        return _external(settings.external, superframes)
    try:
        installed = process.find(settings.binary)
    except process.SuricataError as reason:
        return Sensor(error=str(reason))
    values, values_error = None, None
    rules_errors = unreadable(settings.rules)
    test_error = None
    with tempfile.TemporaryDirectory(prefix="peeltap-doctor-") as name:
        place = Path(name)
        try:
            values = _dump(installed.path, settings, device, place)
        except (OSError, ValueError, subprocess.TimeoutExpired) as reason:
            values_error = str(reason)
        tested = test_rules and not rules_errors and values_error is None
        if tested:
            try:
                limit = {"timeout_seconds": settings.timeout_seconds or _TEST_SECONDS}
                process.check(settings.model_copy(update=limit), place / "test")
            except process.SuricataError as reason:
                test_error = str(reason)
    return Sensor(
        version=installed.version,
        values=values,
        values_error=values_error,
        rules=[str(path) for path in settings.rules],
        rules_errors=rules_errors,
        test_error=test_error,
        tested=tested,
        superframes=superframes,
    )


def service(control: Path) -> Answer:
    """Ask the running service."""
    try:
        with Client(control, _ASK_SECONDS) as client:
            return Answer(True, client.ask("status"), None)
    except NotRunningError as reason:
        return Answer(False, None, str(reason))
    except ControlError as reason:
        return Answer(True, None, str(reason))


# --- The machine ----------------------------------------------------------------------------------


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _ring() -> str | None:
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
            probe.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
    except OSError as reason:
        return reason.strerror
    return None


def _tun() -> str | None:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as reason:
        return f"/dev/net/tun: {reason.strerror}"
    return None


def _clock() -> bool | None:
    # struct timex with modes 0 asks and sets nothing.
    told = ctypes.create_string_buffer(_TIMEX_BYTES)
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(told)
    return None if state < 0 else state != TIME_ERROR


# --- The network ----------------------------------------------------------------------------------


def _may_list() -> bool:
    """Whether "no drop was found" means that there is none: rules are shown to CAP_NET_ADMIN."""
    return bool(privileges.held() >> privileges.CAP_NET_ADMIN & 1)


def _offloads(links: Mapping[int, Link], capture: str) -> Iterator[tuple[str, frozenset[str]]]:
    captured = find(links, capture)
    if captured is None:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for link in links.values():
            if captured.index in (link.index, link.master):
                words = {
                    word
                    for word, question in (
                        ("tso", ETHTOOL_GTSO),
                        ("gso", ETHTOOL_GGSO),
                        ("gro", ETHTOOL_GGRO),
                    )
                    if _ethtool(asked, link.name, question)
                }
                if _ethtool(asked, link.name, ETHTOOL_GFLAGS) & ETH_FLAG_LRO:
                    words.add("lro")
                yield link.name, frozenset(words)


def _ethtool(asked: socket.socket, interface: str, question: int) -> int:
    """The data of one `struct ethtool_value`; 0 where the interface does not tell."""
    value = ctypes.create_string_buffer(struct.pack("=II", question, 0))
    request = struct.pack("=16sQ8x", interface.encode(), ctypes.addressof(value))
    try:
        fcntl.ioctl(asked, SIOCETHTOOL, request)
    except OSError:
        return 0
    data: int = struct.unpack_from("=II", value.raw)[1]
    return data


# --- Suricata -------------------------------------------------------------------------------------


def _external(settings: ExternalSuricata, superframes: str) -> Sensor:
    version, answers_error, eve_error = None, None, None
    if settings.command_socket is not None:
        try:
            version = str(command.ask(settings.command_socket, "version", timeout=_ASK_SECONDS))
        except command.CommandError as reason:
            answers_error = str(reason)
    try:
        settings.eve.open("rb").close()
    except OSError as reason:
        eve_error = reason.strerror
    return Sensor(
        external=True,
        version=version,
        answers_error=answers_error,
        eve=str(settings.eve),
        eve_error=eve_error,
        superframes=superframes,
    )


def _dump(binary: str, settings: SuricataSettings, device: str, place: Path) -> dict[str, str]:
    """What Suricata reads in the configuration that it would get; ValueError with its own words."""
    path = place / "suricata.yaml"
    path.write_text(live_config.emit(settings, device, place), encoding="utf-8")
    done = subprocess.run(
        [binary, "--dump-config", "-c", str(path)],
        capture_output=True,
        timeout=_DUMP_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=place,
    )
    text = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).decode(
        errors="replace"
    )
    if done.returncode != 0:
        raise ValueError(_last_words(text) or f"it ended with {done.returncode}")
    return values(text)


def values(text: str) -> dict[str, str]:
    """Read `--dump-config`: one `key = value` a line, keys with dots; (null) heads a mapping."""
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        # Where its log is JSON from the beginning.
        if line.startswith("{"):
            try:
                told = json.loads(line)
                return str(told["engine"]["message"])[:300]
            except (ValueError, KeyError, TypeError):
                continue
    return lines[-1][:300] if lines else ""
