"""The command line. Each command's work is in a module of its own, loaded when it is called.

Exit codes: 0 done; 1 failed, or the input was cut; 2 wrong use or configuration; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

app = typer.Typer(
    name="peeltap",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from peeltap_core import VERSION

        typer.echo(f"peeltap {VERSION}")
        raise typer.Exit


@app.callback()
def peeltap(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """One Suricata for every decoy behind L4 proxies.

    Peeltap takes the proxy headers out of captured TCP connections, so that Suricata recognises
    what is inside, and puts the true attacker's address into Suricata's events.

    Begin with [bold]peeltap demo[/bold], then [bold]peeltap replay --help[/bold].
    """


@app.command()
def replay(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Captures of the proxied leg, pcap or pcapng; - is standard input.",
        ),
    ],
    config: Annotated[
        str, typer.Option("--config", "-c", metavar="FILE", help="Which legs carry headers (YAML).")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write the clean capture; .pcapng chooses pcapng."
        ),
    ] = None,
    flows: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write flow records, one JSON object a line."),
    ] = None,
    eve: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write Suricata's events, corrected; needs --suricata."),
    ] = None,
    suricata: Annotated[
        bool, typer.Option("--suricata", help="Run the installed Suricata on the clean capture.")
    ] = False,
    rules: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Suricata rules, instead of the config's; repeatable."),
    ] = None,
    mode: Annotated[
        Literal["strip", "restore"] | None,
        typer.Option(help="strip: take headers out. restore: also put true addresses in."),
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", metavar="EXPR", help="Read only packets that match, as tcpdump."),
    ] = None,
    superframes: Annotated[
        Literal["keep", "segment"] | None,
        typer.Option(help="Offloaded frames: keep them whole or cut them to the MSS."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors still show.")
    ] = False,
) -> None:
    r"""Take the headers out of captures, and optionally run Suricata on the result.

    Needs no root, and no Suricata unless you ask for it.

    [bold]Examples[/bold]

    The clean capture and who was behind each connection:

      peeltap replay br1.pcap -c peeltap.yaml -o clean.pcap --flows flows.jsonl

    Suricata's alerts, naming the true attackers:

      peeltap replay br1.pcap -c peeltap.yaml --suricata --rules my.rules --eve events.json

    In a pipe:

      tcpdump -i br1 -w - | peeltap replay - -c peeltap.yaml -o - | tshark -r -

    A minimal peeltap.yaml:

      gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: \[proxy-v2]}]
    """
    from pipeline import commands

    commands.replay(
        inputs=inputs,
        config=config,
        out=out,
        flows=flows,
        eve=eve,
        suricata=suricata,
        rules=rules or [],
        mode=mode,
        filter_expression=filter_,
        superframes=superframes,
        as_json=json,
        quiet=quiet,
    )


@app.command()
def enrich(
    flows: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Flow records: JSON lines, or a store that ends in .sqlite or .db."
        ),
    ],
    source: Annotated[
        str, typer.Option("--in", "-i", metavar="FILE", help="Suricata's eve.json.")
    ] = "-",
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", help="The corrected events.")
    ] = "-",
    community_id_seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="As in Suricata's own configuration.")
    ] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print the counts as one JSON object.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No counts; errors still show.")
    ] = False,
) -> None:
    """Put the true addresses into Suricata's events.

    Works line by line, on files or in a pipe; what was there before is kept under "peeltap".

    [bold]Examples[/bold]

      peeltap enrich --flows flows.jsonl --in eve.json --out corrected.json

      tail -F eve.json | peeltap enrich --flows flows.jsonl | jq 'select(.alert)'
    """
    from pipeline import commands

    commands.enrich(
        flows=flows,
        source=source,
        out=out,
        community_id_seed=community_id_seed,
        as_json=json,
        quiet=quiet,
    )


@app.command()
def demo(
    json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as one JSON object.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep captures, flow records and events here."),
    ] = None,
) -> None:
    """Show what Suricata reports on recorded attacks, without and with Peeltap.

    Runs the installed Suricata twice on the same recording. Needs no root.
    """
    from pipeline import commands

    commands.demo(as_json=json, keep=keep)


def main() -> NoReturn:
    """Run the command line; every error that we know of ends as one message, not a traceback."""
    from pipeline.errors import ConfigError, PeeltapError

    try:
        app(prog_name="peeltap")
    except PeeltapError as error:
        # A configuration's mistakes come with their own place; anything else says whose word it is.
        text = str(error) if isinstance(error, ConfigError) else f"peeltap: {error}"
        sys.stderr.write(f"{text}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    sys.exit(0)
