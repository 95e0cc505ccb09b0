"""What each command does between the command line and the work: outputs, summary, exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import typer

from pipeline.errors import PeeltapError


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
        _say(f"warning: {warning}")
    stream = sys.stderr if request.uses_standard_output else sys.stdout
    if as_json:
        import orjson

        stream.write(orjson.dumps(summary.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
    elif not quiet:
        from rich.console import Console

        from pipeline.summary import render

        render(summary, Console(file=stream))
    if summary.failure is not None:
        _say(summary.failure)
        raise typer.Exit(1)
    if summary.interrupted:
        _say("interrupted; parts that were not finished are named above")
        raise typer.Exit(130)
    if summary.stats.get("capture", {}).get("truncated"):
        raise typer.Exit(1)


def enrich(*, flows: str, source: str, out: str, as_json: bool, quiet: bool) -> None:
    """Run `peeltap enrich`."""
    from pipeline.enrich import enrich_files

    enrich_files(flows=flows, source=source, out=out, as_json=as_json, quiet=quiet)


def demo(*, as_json: bool, keep: Path | None) -> None:
    """Run `peeltap demo`."""
    from pipeline.demo import show

    show(as_json=as_json, keep=keep)


def _say(text: str) -> None:
    sys.stderr.write(f"peeltap: {text}\n")


__all__ = ["PeeltapError", "demo", "enrich", "replay"]
