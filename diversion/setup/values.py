"""The words of a topology file: names, addresses, networks, ranges, endpoints, ports, modes.

Each is a type whose check says what is wrong with a text, and what would be right.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

from diversion.setup.firewall.rules import split_endpoint, version_of

MAX_NAME: Final = 15
"""An interface's name: IFNAMSIZ without the final zero (linux/if.h)."""


def _topology_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,11}", text):
        raise ValueError(
            f"{text!r} cannot be a topology's name; allowed: up to 12 small letters, digits and -, "
            "with a letter in front"
        )
    return text


def interface_name(text: str) -> str:
    """Check a name as dev_valid_name() in the kernel does; ValueError."""
    if len(text.encode()) > MAX_NAME:
        length = len(text.encode())
        raise ValueError(
            f"{text!r} has {length} characters; an interface's name has at most {MAX_NAME}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.@][A-Za-z0-9_.@-]*", text) or text in (
        ".",
        "..",
        "all",
        "default",
        "lo",
    ):
        raise ValueError(
            f"{text!r} cannot be an interface's name; allowed: letters, digits and _ . @ -"
        )
    return text


def _namespace_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", text):
        raise ValueError(f"{text!r} cannot be a namespace's name; allowed: letters, digits, _ . -")
    return text


def segment_name(text: str) -> str:
    """Check what becomes part of an interface's name."""
    # With what is put in front it is an interface's name.
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,9}", text):
        raise ValueError(
            f"{text!r} cannot be a name here; allowed: up to 10 small letters, digits and -"
        )
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 address; allowed: 192.0.2.1") from None


def _without_zone(text: str) -> str:
    """Refuse a zone (RFC 4007, section 11), which is any text; the interface is named elsewhere."""
    if "%" in text:
        raise ValueError("an address with a zone")
    return text


def _interface_address(text: str) -> str:
    try:
        value = ipaddress.ip_interface(_without_zone(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is no address with a prefix length; allowed: 192.0.2.1/24"
        ) from None
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length; write {text}/24, or as long as it is")
    return str(value)


def _network(text: str) -> str:
    return _any_network(text, 4)


def _any_network(text: str, version: int = 0) -> str:
    kind, example = ("IPv4 network", "192.0.2.0/24") if version else ("network", "2001:db8::/64")
    try:
        value = ipaddress.ip_interface(_without_zone(text))
    except ValueError:
        value = None
    if value is None or value.version == 10 - version:
        raise ValueError(f"{text!r} is no {kind}; allowed: {example}")
    if value.ip != value.network.network_address:
        raise ValueError(f"{text!r} has bits below its prefix; the network is {value.network}")
    return str(value.network)


def _any_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(_without_zone(text)))
    except ValueError:
        raise ValueError(f"{text!r} is no address; allowed: 192.0.2.1, 2001:db8::1") from None


def _range(text: str) -> str:
    """`192.0.2.10`, or `192.0.2.10-192.0.2.20`; or of IPv6."""
    first, dash, last = text.partition("-")
    low, high = (
        ipaddress.ip_address(_any_address(one)) for one in (first, last if dash else first)
    )
    if low.version != high.version:
        raise ValueError(f"{text!r} goes from one IP version to the other")
    if int(high) < int(low):
        raise ValueError(f"{text!r} runs backwards; write {high}-{low}")
    if int(high) - int(low) >= 65536:
        raise ValueError(f"{text!r} has more than 65536 addresses; give a whole prefix instead")
    return f"{low}-{high}" if dash else str(low)


def _endpoint(text: str) -> str:
    address, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; allowed: 192.0.2.1:80")
    return f"{_address(address)}:{_port_number(port)}"


def _any_endpoint(text: str) -> str:
    address, port = split_endpoint(text)
    if version_of(address) == 4:
        return _endpoint(text)
    if not text.startswith("[") or not port:
        raise ValueError(f"{text!r} has no port; allowed: [2001:db8::1]:80")
    return f"[{_any_address(address)}]:{_port_number(port)}"


def listed(value: Any) -> Any:
    """One value is a list of one, and none is an empty one."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is no port; allowed: 1 to 65535")
    return int(text)


def _port(value: Any) -> Any:
    """`80`, `8000-8010`, `udp/53`; TCP where no protocol is named."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    text = str(value)
    protocol, slash, ports = text.rpartition("/")
    if slash and protocol not in ("tcp", "udp"):
        raise ValueError(f"{text!r}: {protocol!r} is no protocol; allowed: tcp, udp")
    first, dash, last = ports.partition("-")
    low, high = _port_number(first), _port_number(last if dash else first)
    if high < low:
        raise ValueError(f"the port range {ports!r} runs backwards; write {high}-{low}")
    return f"{protocol or 'tcp'}/{low}-{high}" if dash else f"{protocol or 'tcp'}/{low}"


def tcp(port: str) -> str:
    """Check that a port is TCP's."""
    if not port.startswith("tcp/"):
        raise ValueError(f"{port!r}: the agent accepts TCP only; allowed: 80, 8000-8010")
    return port


def _other_end(text: str) -> str:
    machine, slash, interface = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} names no interface; allowed: MACHINE/INTERFACE")
    return f"{segment_name(machine)}/{interface_name(interface)}"


def _directory(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or path.parent == path or "\0" in text:
        raise ValueError(f"{text!r} is no path of a directory; allowed: /var/log/suricata")
    return str(path)


def _mode(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is no mode of a directory; allowed: '0750', in quotes")
    return text.rjust(4, "0")


TopologyName = Annotated[str, AfterValidator(_topology_name)]
InterfaceName = Annotated[str, AfterValidator(interface_name)]
NamespaceName = Annotated[str, AfterValidator(_namespace_name)]
IPv4 = Annotated[str, AfterValidator(_address)]
InterfaceAddress = Annotated[str, AfterValidator(_interface_address)]
Network = Annotated[str, AfterValidator(_network)]
AnyIP = Annotated[str, AfterValidator(_any_address)]
AnyNetwork = Annotated[str, AfterValidator(_any_network)]
AddressRange = Annotated[str, AfterValidator(_range)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
AnyEndpoint = Annotated[str, AfterValidator(_any_endpoint)]
Port = Annotated[str, BeforeValidator(_port)]
MachineName = Annotated[str, AfterValidator(segment_name)]
OtherEnd = Annotated[str, AfterValidator(_other_end)]
DirectoryPath = Annotated[str, AfterValidator(_directory)]
Mode = Annotated[str, AfterValidator(_mode)]


def of_one_version(*addresses: str) -> None:
    """Refuse addresses of two IP versions."""
    for one in addresses[1:]:
        if version_of(one) != version_of(addresses[0]):
            raise ValueError(f"{addresses[0]} and {one} are of two IP versions; part them")
