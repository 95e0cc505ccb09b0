"""What each command does between the command line and the work: outputs, summary, exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, TextIO

import typer

from pipeline.errors import RunError


def replay(
    *,
    inputs: list[str],
    config: str,
    out: str | None,
    flows: str | None,
    eve: str | None,
    suricata: bool,
    rules: list[Path],
    mode: Literal["strip", "restore"] | None,
    filter_expression: str | None,
    superframes: Literal["keep", "segment"] | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run `peeltap replay`."""
    from pipeline import config as configuration
    from pipeline import replay as work
    from pipeline.progress import progress

    request = work.Request(
        inputs=inputs,
        out=out,
        flows=flows,
        eve=eve,
        suricata=suricata,
        rules=rules,
        mode=mode,
        superframes=superframes,
        filter=filter_expression,
    )
    settings = configuration.load(config)
    work.check(request, config)
    with progress(quiet=quiet) as shown:
        summary = work.replay(request, settings, shown)
    for warning in summary.warnings:
        say(f"warning: {warning}")
    stream = sys.stderr if request.uses_standard_output else sys.stdout
    if as_json:
        print_json(summary.as_dict(), stream)
    elif not quiet and summary.stats:
        from rich.console import Console

        from pipeline.summary import render

        render(summary, Console(file=stream))
    if summary.failure is not None:
        raise RunError(summary.failure)
    if summary.interrupted:
        say("interrupted")
        raise typer.Exit(130)
    if summary.truncated:
        raise typer.Exit(1)


def enrich(
    *, flows: str, source: str, out: str, community_id_seed: int, as_json: bool, quiet: bool
) -> None:
    """Run `peeltap enrich`."""
    from pipeline import enrich as work

    result = work.enrich(flows=flows, source=source, out=out, community_id_seed=community_id_seed)
    for warning in result.warnings:
        say(f"warning: {warning}")
    stream = sys.stderr if out == "-" else sys.stdout
    if as_json:
        print_json(result.as_dict(), stream)
    elif not quiet and not result.interrupted:
        from rich.console import Console

        from pipeline.summary import event_sections, print_sections

        print_sections(event_sections(result.events), Console(file=stream))
    if result.interrupted:
        raise typer.Exit(130)


def demo(*, as_json: bool, keep: Path | None) -> None:
    """Run `peeltap demo`."""
    from pipeline import demo as work
    from pipeline.progress import progress

    with progress(quiet=False) as shown:
        compared = work.compare(keep, shown)
    if as_json:
        print_json(compared.as_dict(), sys.stdout)
        return
    from rich.console import Console

    from pipeline.demo_view import render

    render(compared, Console())


def print_json(value: dict[str, Any], stream: TextIO) -> None:
    """Write one indented JSON object."""
    import orjson

    stream.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def say(text: str) -> None:
    """Write one line to the person, beside whatever goes to standard output."""
    sys.stderr.write(f"peeltap: {text}\n")
