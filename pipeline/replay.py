"""`peeltap replay`: captures in, a clean capture, flow records and corrected events out.

    inputs ──> peeltap_core.Replay ──> clean capture ──> Suricata ──> eve.json
                      │                                                  │
                      └── flow records ──> flow store ───────────────> enrich ──> corrected events

The parts on the right run only with `suricata=True`. Nothing here looks into a packet.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import peeltap_core

from pipeline.config import Config
from pipeline.errors import RunError, UsageError
from pipeline.outputs import Output, Sink, flow_output, open_sink, refuse_clashes
from pipeline.progress import Progress
from pipeline.summary import Summary
from reassembly.engine_config import engine_config

if TYPE_CHECKING:
    from pipeline.events import SuricataStage
    from reassembly.capture_filter import Instruction

STEP = 65_536
"""Packets between two looks at the terminal; about 20 ms of work."""


class Request(NamedTuple):
    """What the command line asks for."""

    inputs: list[str]
    out: str | None = None
    flows: str | None = None
    eve: str | None = None
    suricata: bool = False
    rules: Sequence[Path] = ()
    mode: Literal["strip", "restore"] | None = None
    superframes: Literal["keep", "segment"] | None = None
    filter: str | None = None

    @property
    def uses_standard_output(self) -> bool:
        """Whether data, not the summary, belongs on standard output."""
        return "-" in (self.out, self.flows, self.eve)


def check(request: Request, config_path: str) -> None:
    """Raise UsageError for options that do not go together."""
    if request.eve is not None and not request.suricata:
        raise UsageError(
            "--eve is where corrected events are written and needs --suricata; "
            "to correct an eve.json that exists: peeltap enrich --in eve.json --flows FLOWS"
        )
    if request.rules and not request.suricata:
        raise UsageError("--rules are for Suricata and need --suricata")
    if request.inputs.count("-") > 1:
        raise UsageError("-: standard input can be read once")
    outputs = [Output(name) for name in (request.out, request.flows, request.eve) if name]
    refuse_clashes([*request.inputs, config_path, *map(str, request.rules)], outputs)


def replay(request: Request, config: Config, progress: Progress) -> Summary:
    """Do the whole job.

    Raises PeeltapError if it cannot begin. Once begun it always gives a summary: `failure` says
    why the work ended early, `interrupted` that Ctrl-C or SIGTERM ended it, and `outputs` names
    what was finished and the valid parts of what was not.
    """
    began = time.monotonic()
    summary = Summary(inputs=request.inputs, outputs={}, mode=request.mode or config.mode)
    with contextlib.ExitStack() as stack:
        job = _Job(request, config, summary, progress, stack)
        try:
            with interrupts():
                job.run()
        except KeyboardInterrupt:
            summary.interrupted = True
        except RunError as error:
            summary.failure = str(error)
        finally:
            job.abandon()
    summary.seconds = time.monotonic() - began
    return summary


class _Job:
    """One run: its outputs, its scratch directory, what Suricata needs."""

    def __init__(
        self,
        request: Request,
        config: Config,
        summary: Summary,
        progress: Progress,
        stack: contextlib.ExitStack,
    ) -> None:
        self.request = request
        self.config = config
        self.summary = summary
        self.progress = progress
        self.stack = stack
        self.scratch: Path | None = None
        self.stage: SuricataStage | None = None
        self.programs: dict[int, list[Instruction]] | None = None
        named = {"capture": request.out, "flows": request.flows, "events": request.eve}
        self.outputs = {
            what: flow_output(name) if what == "flows" else Output(name)
            for what, name in named.items()
            if name is not None
        }
        # What can be wrong is said before the long part.
        if request.filter is not None:
            self.programs = _compiled(request.filter)
        if request.suricata:
            from pipeline.events import SuricataStage

            self.stage = SuricataStage(config.suricata, request.rules, summary)
            stack.callback(self.stage.store.close)
            import tempfile

            directory = tempfile.TemporaryDirectory(prefix="peeltap-")
            self.scratch = Path(stack.enter_context(directory))

    def run(self) -> None:
        for output in self.outputs.values():
            output.prepare()
        clean = self._clean_capture()
        self._strip(clean.work if clean is not None else None)
        self._finish("flows")
        if clean is self.outputs.get("capture"):
            self._finish("capture")
        if self.stage is not None and self.scratch is not None and clean is not None:
            events = self.outputs.get("events")
            self.stage.run(Path(clean.work), events, self.scratch / "suricata", self.progress)
            self._finish("events")
        if clean is not None:
            self._hand_over(clean)

    def _finish(self, what: str) -> None:
        if what in self.outputs:
            output = self.outputs.pop(what)
            output.commit()
            self.summary.outputs[what] = output.name

    def abandon(self) -> None:
        """Say where the parts of unfinished outputs are."""
        for what, output in self.outputs.items():
            if part := output.abandon():
                self.summary.outputs[f"{what}, cut short"] = part

    def _clean_capture(self) -> Output | None:
        """Choose where the core writes: Suricata needs a file that it can open by name."""
        out = self.outputs.get("capture")
        if self.scratch is None or (out is not None and out.regular):
            return out
        return Output(str(self.scratch / "clean.pcap"))

    def _strip(self, clean: str | None) -> None:
        settings = engine_config(
            self.config.engine,
            mode=self.request.mode,
            superframes=self.request.superframes,
            records="flows" in self.outputs or self.stage is not None,
        )
        try:
            core = peeltap_core.Replay(settings, self.request.inputs, clean, filter=self.programs)
        except ValueError as error:
            raise RunError(str(error)) from None
        except OSError as error:
            raise self._trouble(error, clean) from None
        with open_sink(self.outputs.get("flows")) as sink:
            try:
                more = True
                while more:
                    more = core.step(STEP)
                    self.progress.update(*core.progress())
                    self._records(core.take_records(), sink)
            except OSError as error:
                raise self._trouble(error, clean) from None
            finally:
                self.summary.stats = core.stats()
                self.summary.warnings += core.warnings()

    def _records(self, lines: bytes, sink: Sink | None) -> None:
        if lines and sink is not None:
            sink.write(lines)
        if lines and self.stage is not None:
            self.stage.take_records(lines)

    def _trouble(self, error: OSError, clean: str | None) -> RunError:
        """Name the person's file, not our part of it."""
        name = os.fsdecode(error.filename) if error.filename else None
        for output in self.outputs.values():
            if name == output.work:
                name = output.name
        reason = error.strerror or str(error)
        return RunError(f"{name}: {reason}" if name else reason)

    def _hand_over(self, clean: Output) -> None:
        """Copy the clean capture to a pipe or device, from which Suricata could not read it."""
        import shutil

        out = self.outputs.get("capture")
        with open_sink(out) as sink:
            if sink is not None:
                with Path(clean.work).open("rb") as source:
                    shutil.copyfileobj(source, sink, 1 << 20)
        self._finish("capture")


def _compiled(expression: str) -> dict[int, list[Instruction]]:
    """Compile `--filter`; a wrong expression is wrong use, a libpcap that is absent is not."""
    from reassembly.capture_filter import FilterError, LibpcapAbsentError, compile_filters

    try:
        return compile_filters(expression)
    except LibpcapAbsentError as error:
        raise RunError(str(error)) from None
    except FilterError as error:
        raise UsageError(f"--filter {error}") from None


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Turn SIGTERM into the same clean end as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
