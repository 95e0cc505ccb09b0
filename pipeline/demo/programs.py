"""The real programs of the demo, each with its configuration and the sign that it is up.

Decoys, and proxies that take no address of somebody else's, run plain, as nobody: an ordinary
user's world knows no second user id that they could change to. Their files lie in the world's
directory.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from diversion.namespaces import NamespaceError, Program, Space
from diversion.proxy.addresses import show_ends
from pipeline.demo import configs
from pipeline.demo import proxies as ours
from pipeline.demo.configs import Listen
from pipeline.demo.network import (
    BRIDGE,
    DECOYS,
    GATEWAY1,
    GATEWAY1_FOR_AGENT,
    SERVICES,
    TAP,
    VMS,
    Ends,
    Network,
    Service,
)
from suricata import live_config
from suricata.config import ENGINE_LOG, EVE_FILE
from suricata.settings import SuricataSettings

NEEDED: Final = {
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "curl": "curl",
    "nc": "netcat-openbsd",
    "openssl": "openssl",
    "bash": "bash",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "nft": "nftables",
}
"""Programs, and Debian's packages that have them. Suricata has messages of its own."""

SITE: Final = "intranet.decoy.example"
CONTROL: Final = Path("/run/peeltap/control.sock")
"""The default, in the world's own /run: `peeltap status` finds it there."""

SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where servers live, and where an ordinary user's PATH does not lead."""


def missing(*more: str) -> str | None:
    """None if every program is installed, otherwise a clause that names those which are not."""
    packages = {**NEEDED, **dict.fromkeys(more, "tshark")}
    lacking = [name for name in packages if _found(name) is None]
    if lacking:
        install = " ".join(sorted({packages[name] for name in lacking}))
        return f"{', '.join(lacking)} not installed (Debian: apt-get install {install})"
    if importlib.util.find_spec("aiosmtpd") is None:
        return "aiosmtpd, the SMTP decoy, is not installed (pip install aiosmtpd)"
    return None


# --- Proxies -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hop:
    """One service through one proxy: where it is accepted, where it goes, headers on both sides."""

    listen: Ends
    to: Ends
    accepts: bool = False
    sends: bool = False


def _by_gateway1(service: Service) -> Hop:
    if service.agent:
        return Hop((GATEWAY1_FOR_AGENT, service.leg_port), service.leg, accepts=True, sends=True)
    return Hop(service.decoy, service.leg, sends=True)


def _by_agent(service: Service) -> Hop:
    return Hop(service.decoy, (GATEWAY1_FOR_AGENT, service.leg_port), sends=True)


def _by_gateway2(service: Service) -> Hop:
    return Hop(service.leg, service.decoy, accepts=True)


def hops(place: str) -> list[Hop]:
    """What the proxy of that machine does: of host, agent, vm1 or vm2."""
    if place == "host":
        return [_by_gateway1(service) for service in SERVICES]
    if place == "agent":
        return [_by_agent(service) for service in SERVICES if service.agent]
    return [_by_gateway2(service) for service in SERVICES if service.vm == place]


HAPROXY_LOG: Final = "%ci:%cp -> %fi:%fp, onward %bi:%bp -> %si:%sp"


def haproxy(space: Space, hops: Sequence[Hop], *, as_peer: bool = False) -> Program:
    """HAProxy, which speaks PROXY v2.

    `as_peer`: it goes on with the address that the header names, which takes a capability.
    """
    source = "source 0.0.0.0 usesrc clientip" if as_peer else ""
    listens = [
        Listen(
            hop.listen,
            hop.to,
            "accept-proxy" if hop.accepts else "",
            "send-proxy-v2" if hop.sends else source,
        )
        for hop in hops
    ]
    config = space.directory / f"haproxy-{space.name}.cfg"
    config.write_text(configs.haproxy(listens, HAPROXY_LOG))
    return _serving(
        space,
        [_path("haproxy"), "-db", "-f", config],
        f"haproxy-{space.name}.log",
        (hop.listen[1] for hop in hops),
        plain=not as_peer,
    )


PROXIES: Final[dict[str, Callable[[Space, Sequence[Hop]], Program]]] = {
    "vm1": ours.gateway2,
    "vm2": partial(haproxy, as_peer=True),
    "host": ours.gateway1,
    "agent": ours.agent,
}
"""What stands where: gateway2 in both VMs, gateway1, the agent; in the order of starting."""


def proxies(network: Network) -> None:
    """Start them all."""
    for place, start in PROXIES.items():
        start(network.spaces[place], hops(place))


# --- Decoys --------------------------------------------------------------------------------------


def decoys(network: Network) -> None:
    """nginx in vm1; sshd, which lets nobody in, and aiosmtpd, which takes every mail, in vm2."""
    directory = network.world.directory
    _site(directory)
    _nginx(network.spaces["vm1"])
    _sshd(network.spaces["vm2"])
    address, port = DECOYS["vm2"][0], 25
    argv: list[str | Path] = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{address}:{port}"]
    argv += ["-c", "aiosmtpd.handlers.Sink"]
    _serving(network.spaces["vm2"], argv, "smtp-decoy.log", [port])


def _site(directory: Path) -> None:
    """The decoys' content and keys."""
    root = directory / "www"
    root.mkdir()
    (root / "index.html").write_text("<html><title>Intranet</title><p>Staff only.</html>\n")
    (root / "login").write_text("Login failed.\n")
    request = [_path("openssl"), "req", "-x509", "-newkey", "ec"]
    request += ["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    request += ["-subj", f"/O=Decoy/CN={SITE}"]
    request += ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"]
    key = [_path("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/host_key"]
    for argv in (request, key):
        subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _nginx(space: Space) -> None:
    directory = space.directory
    web = [service for service in SERVICES if service.name.startswith("http")]
    listens = [f"{show_ends(one.decoy)}{' ssl' if one.name == 'https' else ''}" for one in web]
    config = directory / "nginx.conf"
    log = f"{directory}/nginx-access.log"
    config.write_text(configs.nginx(directory, "nginx", listens, log=log))
    _serving(
        space,
        [_path("nginx"), "-e", "stderr", "-c", config],
        "nginx.log",
        {service.decoy[1] for service in web},
    )


def _sshd(space: Space) -> None:
    [listen] = [service.decoy for service in SERVICES if service.name == "ssh"]
    directory = space.directory
    config = directory / "sshd_config"
    config.write_text(configs.sshd(directory, [listen]))
    # sshd runs itself anew for each connection and therefore wants an absolute path.
    _serving(space, [_path("sshd"), "-D", "-e", "-f", config], "sshd.log", [listen[1]])


# --- Observers -----------------------------------------------------------------------------------


def capture(space: Space, interface: str, path: Path) -> Program:
    """dumpcap on one interface; it ends in order on SIGINT."""
    argv: list[str | Path] = [_path("dumpcap"), "-q", "-i", interface, "-w", path]
    program = space.spawn(argv, log=f"dumpcap-{interface}.log")
    _wait_for_words(program, "File:", program.log)
    return program


def suricata_alone(network: Network, suricata: SuricataSettings) -> tuple[Program, Path]:
    """A Suricata on br1, run as Peeltap runs the one on the tap; and the file of its events."""
    logs = network.world.directory / "alone"
    logs.mkdir()
    config = logs / live_config.CONFIG_FILE
    config.write_text(live_config.emit(suricata, BRIDGE, logs))
    argv: list[str | Path] = [_path(suricata.binary), "-c", config, "-l", logs]
    argv += [f"--af-packet={BRIDGE}", "--init-errors-fatal"]
    program = network.host.spawn(argv, log="suricata-alone.log")
    _wait_for_words(program, "Engine started", logs / ENGINE_LOG)
    return program, logs / EVE_FILE


# --- Peeltap -------------------------------------------------------------------------------------


def configuration(network: Network, suricata: SuricataSettings, events: Path) -> Path:
    """Write Peeltap's own file, as an operator would."""
    directory = network.world.directory
    CONTROL.parent.mkdir(exist_ok=True)
    whole = {
        "gateways": [
            {"from": GATEWAY1, "to": address, "headers": ["proxy-v2"]} for address in VMS.values()
        ],
        "capture": {"interface": BRIDGE},
        # The setup stage's tap, or the pair that it made, into one end of which goes what is clean.
        "tap": {"name" if network.real_tap else "interface": TAP},
        "suricata": {
            "rules": [str(path) for path in suricata.rules],
            "home_net": suricata.home_net,
            "extra": suricata.extra,
        },
        "sinks": [{"file": str(events)}],
        "state": {"directory": str(directory / "state")},
        "control": {"socket": str(CONTROL)},
        "log": {"format": "text"},
    }
    path = directory / "peeltap.yaml"
    path.write_text("# Made by peeltap demo.\n" + yaml.safe_dump(whole, sort_keys=False))
    return path


def peeltap(network: Network, config: Path) -> Program:
    """`peeltap run`, which runs a Suricata of its own on the tap."""
    # It starts elsewhere, and has to be this Peeltap, not one that is installed.
    here = str(Path(__file__).parents[2])
    call = f"import sys; sys.path.insert(0, {here!r}); from pipeline.cli import main; main()"
    argv: list[str | Path] = [sys.executable, "-c", call, "run", "--config", config]
    return network.host.spawn(argv, log="peeltap.log")


def status() -> dict[str, Any] | None:
    """What the service says of itself, None while it does not."""
    from pipeline.control import Client, ControlError

    try:
        with Client(CONTROL) as client:
            return client.ask("status")
    except ControlError:
        return None


def wait_ready(program: Program, seconds: float = 60) -> None:
    """Return when Peeltap captures, and its Suricata listens."""
    deadline = time.monotonic() + seconds
    while True:
        said = status() or {}
        states = [said.get(part, {}).get("state") for part in ("capture", "output", "suricata")]
        if states == ["up", "up", "ready"]:
            return
        code = program.process.poll()
        if code is not None or time.monotonic() > deadline:
            what = f"is not ready ({states})" if code is None else f"ended with {code}"
            raise NamespaceError(f"peeltap run {what}: {program.last_words()}")
        time.sleep(0.1)


# --- Common --------------------------------------------------------------------------------------


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=SBIN)


def _path(name: str) -> str:
    """The program's absolute path; some want it, and some are not on everybody's PATH."""
    found = _found(name)
    if found is None:
        raise NamespaceError(f"the program {name} is not installed")
    return found


def _serving(
    space: Space,
    argv: Sequence[str | Path],
    log: str,
    ports: Iterable[int],
    *,
    plain: bool = True,
) -> Program:
    program = space.spawn(argv, log=log, plain=plain)
    space.wait_listening(program, *ports)
    return program


def _wait_for_words(program: Program, words: str, log: Path, seconds: float = 60) -> None:
    """Return when the program has written the words into `log`."""
    deadline = time.monotonic() + seconds
    while not (log.exists() and words in log.read_text(errors="replace")):
        code = program.process.poll()
        if code is not None or time.monotonic() > deadline:
            what = "is not ready" if code is None else f"ended with {code}"
            raise NamespaceError(f"{program.name} {what}: {program.last_words()}")
        time.sleep(0.05)
