"""What each command does between the command line and the work: outputs, summary, exit code."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from argparse import Namespace


def replay(asked: Namespace) -> int:
    """Run `peeltap replay`."""
    from pipeline import config
    from pipeline import replay as work
    from pipeline.errors import RunError
    from pipeline.progress import progress

    request = work.Request(
        inputs=asked.inputs,
        out=asked.out,
        flows=asked.flows,
        eve=asked.eve,
        suricata=asked.suricata,
        rules=[Path(name) for name in asked.rules],
        mode=asked.mode,
        superframes=asked.superframes,
        filter=asked.filter,
    )
    settings = config.load(asked.config)
    work.check(request, asked.config)
    with progress(quiet=asked.quiet) as shown:
        summary = work.replay(request, settings, shown)
    for warning in summary.warnings:
        say(f"warning: {warning}")
    stream = sys.stderr if request.uses_standard_output else sys.stdout
    if asked.json:
        print_json(summary.as_dict(), stream)
    elif not asked.quiet and summary.stats:
        from rich.console import Console

        from pipeline.summary import render

        render(summary, Console(file=stream))
    if summary.failure is not None:
        raise RunError(summary.failure)
    if summary.interrupted:
        raise KeyboardInterrupt
    return 1 if summary.truncated else 0


def enrich(asked: Namespace) -> int:
    """Run `peeltap enrich`."""
    if asked.config is not None or asked.workers is not None or asked.worker is not None:
        return _enrich_as_a_service(asked)
    from pipeline import enrich as work
    from pipeline.errors import UsageError

    if asked.flows is None:
        raise UsageError("--flows is needed, or --config and --workers for the service")

    result = work.enrich(
        flows=asked.flows,
        source=asked.source,
        out=asked.out,
        rejects=asked.rejects,
        community_id_seed=asked.community_id_seed,
    )
    for warning in result.warnings:
        say(f"warning: {warning}")
    stream = sys.stderr if "-" in (asked.out, asked.rejects) else sys.stdout
    if asked.json:
        print_json(result.as_dict(), stream)
    elif not asked.quiet and not result.interrupted:
        from rich.console import Console

        from pipeline.summary import event_sections, print_sections

        print_sections(event_sections(result.events), Console(file=stream))
    if result.interrupted:
        raise KeyboardInterrupt
    return 0


def _enrich_as_a_service(asked: Namespace) -> int:
    from pipeline.errors import UsageError

    if asked.config is None:
        raise UsageError("--workers: --config is needed, which names Redis and the sinks")
    if asked.flows is not None or asked.source != "-" or asked.out != "-" or asked.rejects:
        raise UsageError(
            "--config: events, flow records and sinks are named there; leave out"
            " --flows, --in, --out and --rejects"
        )
    # Until they can be heeded.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    if asked.worker is not None:
        from pipeline import worker

        return worker.run(asked.config, asked.worker)
    from pipeline import workers

    return workers.run(asked.config, asked.workers or 1)


def run(asked: Namespace) -> int:
    """Run `peeltap run`."""
    if not asked.check:
        # Until the service can heed them: a hangup would end it, in a way that looks intended.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    from pipeline import run as work

    if asked.check:
        work.check(asked.config)
        print(f"{asked.config} is right")
        return 0
    return work.run(asked.config)


def status(asked: Namespace) -> int:
    """Run `peeltap status`."""
    from pipeline import status as work

    socket = work.socket_of(asked.socket, asked.config, workers=asked.workers)
    if asked.json:
        print_json(work.ask(socket), sys.stdout)
        return 0
    from rich.console import Console

    if asked.watch:
        work.watch(socket, Console())
    else:
        Console().print(work.page(work.ask(socket)))
    return 0


def sinks(asked: Namespace) -> int:
    """Run `peeltap sinks`."""
    from pipeline import sinks as work

    outcomes = work.test(asked.config)
    if asked.json:
        print_json({"sinks": [one.as_dict() for one in outcomes]}, sys.stdout)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in work.lines(outcomes)))
    return 0 if all(one.acknowledged for one in outcomes) else 1


def demo(asked: Namespace) -> int:
    """Run `peeltap demo`."""
    from pipeline.errors import RunError, UsageError

    wishes = {"--hold": asked.hold, "--pcap": asked.pcap, "--seconds": asked.seconds}
    given = [name for name, value in wishes.items() if value]
    if asked.offline:
        if given:
            raise UsageError(f"{given[0]} is of the live demo, which --offline leaves out")
        return _demo_offline(asked)
    from pipeline.demo import live

    request = live.Request(
        seconds=asked.seconds or live.SECONDS,
        hold=asked.hold,
        pcap=Path(asked.pcap) if asked.pcap else None,
        directory=Path(asked.keep) if asked.keep else None,
        json=asked.json,
    )
    reason = live.why_not(request)
    if reason is None:
        return live.show(request)
    if given:
        raise RunError(f"the live demo cannot be shown here: {reason}")
    say(f"the live demo cannot be shown here: {reason}")
    say("so these are recorded attacks instead (peeltap demo --offline)")
    return _demo_offline(asked)


def _demo_offline(asked: Namespace) -> int:
    from pipeline.demo import offline
    from pipeline.progress import progress

    with progress(quiet=False) as shown:
        compared = offline.compare(Path(asked.keep) if asked.keep else None, shown)
    if asked.json:
        print_json(compared.as_dict(), sys.stdout)
    else:
        from rich.console import Console

        from pipeline.demo.offline_view import render

        render(compared, Console())
    return 0


def doctor(asked: Namespace) -> int:
    """Run `peeltap doctor`."""
    from pipeline.doctor import examine, report
    from pipeline.doctor.finding import worst
    from pipeline.errors import UsageError
    from pipeline.progress import progress

    whole = examine.load(asked.config)
    if asked.canary and whole.capture is None:
        raise UsageError("--canary: this configuration captures nothing that one could fly through")
    with progress(quiet=asked.quiet or asked.json) as shown:
        shown.stage("looking")
        findings = examine.examine(whole, test_rules=not asked.quick, control=asked.socket)
        if asked.canary:
            findings += examine.fly(whole, seconds=asked.seconds, say=shown.stage)
    if asked.json:
        print_json(report.as_dict(findings), sys.stdout)
    else:
        from rich.console import Console

        shown_findings = [one for one in findings if not asked.quiet or one.state != "ok"]
        report.render(shown_findings, Console())
    return 1 if worst(findings) == "fail" else 0


def setup(asked: Namespace) -> int:
    """Run `peeltap setup`."""
    from pipeline import setup as work
    from pipeline import setup_view, topology_file

    file = topology_file.load(asked.topology)
    directory = Path(asked.state)
    match asked.action:
        case "plan":
            outcome = work.examine(file, directory, cut_me_off=asked.yes_cut_me_off)
        case "up":
            outcome = work.up(file, directory, cut_me_off=asked.yes_cut_me_off)
        case "down":
            outcome = work.down(file, directory)
        case _:
            outcome = work.status(file, directory)
    if asked.json:
        print_json(outcome.as_dict(), sys.stdout)
    elif not asked.quiet:
        setup_view.write(asked.action, outcome, sys.stdout)
    return 1 if asked.action == "status" and outcome.state != "up" else 0


def topology(asked: Namespace) -> int:
    """Run `peeltap topology`."""
    from pipeline import topology as work
    from pipeline.errors import RunError

    if asked.topology:
        graph = work.of_file(asked.topology, Path(asked.state), compare=not asked.plain)
    else:
        graph = work.of_host(asked.docker, asked.libvirt)
    told = work.text(graph, asked.format)
    if asked.out == "-":
        sys.stdout.write(told)
        return 0
    try:
        Path(asked.out).write_text(told)
    except OSError as error:
        raise RunError(f"{asked.out}: cannot be written: {error.strerror}") from error
    return 0


def agent(asked: Namespace) -> int:
    """Run `peeltap agent`."""
    from diversion.agent import print_haproxy, service
    from diversion.proxy.haproxy import NoHAProxyError
    from pipeline import proxies
    from pipeline.errors import RunError

    config = proxies.load_agent(asked.config)
    if asked.print_haproxy:
        try:
            sys.stdout.write(print_haproxy.render(config))
        except NoHAProxyError as error:
            raise RunError(str(error)) from None
        return 0
    return 0 if asked.check else service.run(config)


def gateway(asked: Namespace) -> int:
    """Run `peeltap gateway`."""
    from diversion.gateway import print_haproxy, service
    from diversion.proxy.haproxy import NoHAProxyError
    from pipeline import proxies
    from pipeline.errors import RunError

    settings = proxies.load_gateway(asked.config)
    one = settings.gateway1
    rules = None if one is None else proxies.check_rules(settings, Path(one.rules))
    try:
        if asked.print_haproxy:
            sys.stdout.write(print_haproxy.render(settings, rules))
        elif not asked.check:
            service.run(settings, proxies.load_rules)
    except (NoHAProxyError, service.ServiceError) as error:
        raise RunError(str(error)) from None
    return 0


def print_json(value: dict[str, Any], stream: TextIO) -> None:
    """Write one indented JSON object."""
    import orjson

    stream.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def say(text: str) -> None:
    """Write one line to the person, beside whatever goes to standard output."""
    sys.stderr.write(f"peeltap: {text}\n")
