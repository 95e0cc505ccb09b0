"""The command line: what can be asked for, in words; the work is in `pipeline.commands`.

Each command has a parser of its own, made when it is called, and its modules are imported then:
`peeltap replay` starts without rich, Suricata's part and whatever else it does not use.

Exit codes: 0 done; 1 failed, or an input was cut; 2 wrong use or configuration; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from pipeline.errors import ConfigError, PeeltapError

_ABOUT = """\
One Suricata for every decoy behind L4 proxies.

Peeltap takes the proxy headers out of captured TCP connections, so that
Suricata understands what is inside, and puts the true attackers' addresses
into Suricata's events.
"""

_BEGIN = """\
Begin with:  peeltap demo
             peeltap replay --help
             peeltap run --help

Exit codes:  0 done   1 failed   2 wrong use or configuration   130 interrupted
"""


def _replay_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="IN",
        help="pcap or pcapng, merged by time; - is standard input",
    )
    needed = parser.add_argument_group("needed")
    needed.add_argument(
        "-c", "--config", required=True, metavar="FILE", help="which legs carry headers"
    )
    written = parser.add_argument_group("what is written")
    add = written.add_argument
    add("-o", "--out", metavar="FILE", help="the clean capture; pcapng where the name ends so")
    add(
        "--flows",
        metavar="FILE",
        help="flow records, one JSON object a line; added to a store where the name ends in "
        ".sqlite or .db",
    )
    add("--eve", metavar="FILE", help="Suricata's events, corrected; needs --suricata")
    how = parser.add_argument_group("how")
    add = how.add_argument
    add("--suricata", action="store_true", help="run the installed Suricata on the clean capture")
    add(
        "--rules",
        action="append",
        default=[],
        metavar="FILE",
        help="Suricata rules, instead of the configuration's; may be given again",
    )
    add(
        "--mode",
        choices=["strip", "restore"],
        help="strip: take headers out; restore: also write the true addresses into the packets",
    )
    add(
        "--superframes",
        choices=["keep", "segment"],
        help="offloaded frames: keep them whole, or cut them to the MSS",
    )
    add("--filter", metavar="EXPR", help="read only packets that match, written as for tcpdump")
    _report_options(parser, "the summary")


def _enrich_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--flows",
        metavar="FILE",
        help="flow records: JSON lines, or a store whose name ends in .sqlite or .db",
    )
    add("-i", "--in", dest="source", default="-", metavar="FILE", help="Suricata's eve.json")
    add("-o", "--out", default="-", metavar="FILE", help="the corrected events")
    add("--rejects", metavar="FILE", help="the lines that are no events")
    add(
        "--community-id-seed",
        type=_seed,
        default=0,
        metavar="N",
        help="as in Suricata's own configuration (default: 0)",
    )
    _report_options(parser, "the counts")
    add = parser.add_argument_group("as a service, beyond one machine").add_argument
    add("-c", "--config", metavar="FILE", help="where events and flow records are, and the sinks")
    add("--workers", type=_workers, metavar="N", help="so many workers on this machine")
    add("--worker", type=_workers, help=argparse.SUPPRESS)


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 256")
    return number


def _run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-c", "--config", required=True, metavar="FILE", help="the whole configuration")
    add("--check", action="store_true", help="check it, and what it names, and start nothing")


def _status_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-s", "--socket", metavar="FILE", help="the control socket (/run/peeltap/control.sock)"
    )
    which.add_argument("-c", "--config", metavar="FILE", help="the configuration that names it")
    parser.add_argument(
        "--workers",
        action="store_true",
        help="ask peeltap enrich --workers, where a sensor runs with the same configuration",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-w", "--watch", action="store_true", help="show it anew every second")
    how.add_argument("--json", action="store_true", help="print it as one JSON object")


def _sinks_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", choices=["test"], help="test: send a canary through each sink")
    add("-c", "--config", required=True, metavar="FILE", help="the configuration of the service")
    add("--json", action="store_true", help="print the outcome as one JSON object")


def _demo_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--hold", action="store_true", help="keep the system up afterwards, for looking around")
    add("--pcap", metavar="DIR", help="record br1 and vtap0 into this directory")
    add("--seconds", type=_seconds, metavar="N", help="how long the attacks go on (default: 30)")
    add("--offline", action="store_true", help="recorded attacks, without namespaces")
    add("--keep", metavar="DIR", help="keep the files of the demo in this directory")
    add("--json", action="store_true", help="print the outcome as one JSON object")


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-c", "--config", required=True, metavar="FILE", help="the configuration of the service")
    add(
        "--canary",
        action="store_true",
        help="send one harmless connection across the bridge and wait for its event; needs root",
    )
    add(
        "--seconds",
        type=_seconds,
        default=20.0,
        metavar="N",
        help="how long the canary's event is waited for (default: 20)",
    )
    add("--quick", action="store_true", help="do not let Suricata read the rules")
    add("--socket", type=Path, metavar="FILE", help="the control socket, if not the configured one")
    add = parser.add_argument_group("what is said").add_argument
    add("--json", action="store_true", help="print the findings as one JSON object")
    add("-q", "--quiet", action="store_true", help="no progress, and only what is not well")


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most 600")
    return number


def _setup_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "action",
        choices=["plan", "up", "status", "down"],
        help="plan: print the steps; up: take them; status: what differs; down: take all back",
    )
    add("-t", "--topology", required=True, metavar="FILE", help="the network that is wanted")
    add(
        "--yes-cut-me-off",
        action="store_true",
        help="an interface may lose its addresses to a bridge, and you your connection",
    )
    add(
        "--state",
        metavar="DIR",
        default="/var/lib/peeltap/setup",
        help="where the journals are (default: /var/lib/peeltap/setup)",
    )
    _report_options(parser, "the steps")


def _topology_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-t", "--topology", metavar="FILE", help="draw this file instead of the host")
    add(
        "--plain",
        action="store_true",
        help="with --topology: do not mark what applying it to this host would do",
    )
    add(
        "-f",
        "--format",
        choices=["tree", "json", "dot", "svg"],
        default="tree",
        help="tree: for a terminal (default); dot: for Graphviz; svg: a picture",
    )
    add("-o", "--out", default="-", metavar="FILE", help="where to (default: standard output)")
    add("--docker", metavar="FILE", help="a saved docker network inspect, instead of the Engine")
    add("--libvirt", metavar="DIR", help="libvirt's files, instead of /etc/libvirt/qemu")
    add(
        "--state",
        metavar="DIR",
        default="/var/lib/peeltap/setup",
        help="where the journals are (default: /var/lib/peeltap/setup)",
    )


def _proxy_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-c", "--config", required=True, metavar="FILE", help="its file")
    add("--check", action="store_true", help="check the file, and those that it names, and end")
    add(
        "--print-haproxy",
        action="store_true",
        help="print HAProxy's configuration for the same hop, and end",
    )


def _report_options(parser: argparse.ArgumentParser, what: str) -> None:
    add = parser.add_argument_group("what is said").add_argument
    add("--json", action="store_true", help=f"print {what} as one JSON object")
    add("-q", "--quiet", action="store_true", help=f"no progress, none of {what}")


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 65535")
    return number


# Name, what it does in a line, its options, and examples.
_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "replay": (
        "Take the headers out of captures, and run Suricata on the result if asked to.",
        _replay_options,
        """\
Needs no root, and no Suricata unless --suricata asks for it.

The clean capture, and who was behind each connection:

  peeltap replay br1.pcap -c peeltap.yaml -o clean.pcap --flows flows.jsonl

Suricata's alerts, with the true attackers in them:

  peeltap replay br1.pcap -c peeltap.yaml --suricata --rules my.rules --eve events.json

In a pipe:

  tcpdump -i br1 -w - | peeltap replay - -c peeltap.yaml -o - | tshark -r -

A first peeltap.yaml:

  gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]
""",
    ),
    "enrich": (
        "Put the true addresses into Suricata's events.",
        _enrich_options,
        """\
Works line by line, on files or in a pipe; what was there before is kept under
"peeltap" in each event.

  peeltap enrich --flows flows.jsonl --in eve.json --out corrected.json

  tail -F eve.json | peeltap enrich --flows flows.sqlite | jq 'select(.alert)'

Beyond one machine, events and flow records come from Redis, and go to the
configuration's sinks; any number of machines may do so:

  peeltap enrich --config workers.yaml --workers 2
""",
    ),
    "run": (
        "Run the service: capture, tap, one Suricata, corrected events.",
        _run_options,
        """\
Stays in the foreground and logs to standard error; a systemd unit comes with it.
Started as root, it keeps CAP_NET_ADMIN and CAP_NET_RAW and gives up the rest.

  peeltap run --config /etc/peeltap/peeltap.yaml --check

  peeltap run --config /etc/peeltap/peeltap.yaml

Beside the legs, the configuration needs only the interface that carries them:

  gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]
  capture: {interface: br1}

SIGHUP opens the sinks anew and reloads Suricata's rules; SIGTERM and Ctrl-C stop,
a second one at once. Exit codes: 0 stopped, 1 failed, 2 wrong use or configuration.
""",
    ),
    "status": (
        "Show what a running service does.",
        _status_options,
        """\
Packets, connections by verdict, drops by reason, Suricata's state, events and
their lag. Exit code 1 when no service answers.

  peeltap status --watch

  peeltap status --json | jq .connections

Of peeltap enrich --workers: each worker, what waits in Redis, events, sinks.

  peeltap status --config workers.yaml --watch
""",
    ),
    "sinks": (
        "Send a canary through each configured sink, and show what acknowledged it.",
        _sinks_options,
        """\
Connects as the service does, with its credentials, and delivers one event of
type "peeltap", in the sink's own shape; it says of itself that it is a canary.

  peeltap sinks test --config /etc/peeltap/peeltap.yaml

Exit codes:  0 all acknowledged it   1 one did not   2 wrong use or configuration
""",
    ),
    "doctor": (
        "Say whether the live service can run, or does, and what to do where not.",
        _doctor_options,
        """\
Looks at privileges, kernel, interfaces, offloads, the tap's quarantine, clock,
directories, Suricata, its configuration and rules, Redis, the page; and, where
it runs, at what the service says of itself. Changes nothing. A configuration of
workers alone is looked at as such.

  peeltap doctor -c peeltap.yaml

With --canary one harmless connection crosses the bridge, from a namespace that
is thrown away, with documentation addresses in its header; its event has to
come back with them:

  peeltap doctor -c peeltap.yaml --canary

Exit codes:  0 nothing is wrong   1 something is   2 wrong use or configuration
""",
    ),
    "setup": (
        "Make the network that brings attackers to decoys, or take it back.",
        _setup_options,
        """\
One file says what the host's network shall be. See first what would be done, as
the commands that you would have typed; nothing is touched:

  peeltap setup plan --topology host.yaml

Then do it, all of it or nothing; again, it does nothing:

  peeltap setup up --topology host.yaml

  peeltap setup status --topology host.yaml

  peeltap setup down --topology host.yaml

Exit codes of status: 0 the host is as the file says, 1 it is not.
""",
    ),
    "topology": (
        "Draw the network of this host, or of a topology file.",
        _topology_options,
        """\
Bridges and their ports, veth pairs across namespaces, VLANs, VXLANs, taps,
neighbours, containers and domains:

  peeltap topology

A file before it is applied, + what would be made, ~ changed, - removed:

  peeltap topology --topology host.yaml

  peeltap topology --topology host.yaml --plain --format svg --out host.svg
""",
    ),
    "demo": (
        "Show the whole system under attack: what Suricata says without and with Peeltap.",
        _demo_options,
        """\
Machines, proxies, decoys, attackers and two Suricatas, in namespaces of their
own: needs no root, changes nothing on this machine, and ends without a trace.
Where namespaces are forbidden, recorded attacks are shown instead.

For looking around afterwards, and for a look at the packets:

  peeltap demo --hold
  peeltap demo --pcap recordings
""",
    ),
    "agent": (
        "Accept peers where decoys are advertised, and bring them to gateway1 with a header.",
        _proxy_options,
        "  peeltap agent --config agent.json\n",
    ),
    "gateway": (
        "Be gateway1, gateway2 or both: the two ends of the leg that carries headers.",
        _proxy_options,
        """\
  peeltap gateway --config gateway.yaml

SIGHUP reads the rules anew, SIGTERM lets open connections end first.
""",
    ),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; every error that we know of ends as one message, not a traceback."""
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except PeeltapError as error:
        # A configuration's mistakes come with their own place; anything else says whose word it is.
        text = str(error) if isinstance(error, ConfigError) else f"peeltap: {error}"
        sys.stderr.write(f"{text}\n")
        code = error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except KeyboardInterrupt:
        sys.stderr.write("peeltap: interrupted\n")
        code = 130
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name not in _COMMANDS:
        return _without_command(arguments)
    parser = _parser(name)
    # Intermixed, so that captures may stand before and behind options.
    asked = parser.parse_intermixed_args(arguments[1:])
    from pipeline import commands

    run: Callable[[argparse.Namespace], int] = getattr(commands, name)
    return run(asked)


def _parser(name: str) -> argparse.ArgumentParser:
    about, options, examples = _COMMANDS[name]
    parser = argparse.ArgumentParser(
        prog=f"peeltap {name}",
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options(parser)
    return parser


def _without_command(arguments: list[str]) -> int:
    """Answer --help, --version, and what is no command."""
    parser = argparse.ArgumentParser(
        prog="peeltap",
        description=_ABOUT,
        epilog=_BEGIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, (about, _, _) in _COMMANDS.items():
        commands.add_parser(name, help=about)
    if not arguments:
        parser.print_help()
        return 2
    if arguments == ["--version"]:
        from peeltap_core import VERSION

        sys.stdout.write(f"peeltap {VERSION}\n")
        return 0
    parser.parse_args(arguments)
    parser.error("a command is needed")
