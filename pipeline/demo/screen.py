"""The live show's screen: the picture with its counters, then who did what, seen from both sides.

On a terminal the picture is redrawn while the attacks go on; in a pipe there is only the outcome.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.demo.attacks import STEPS, Step
from pipeline.demo.counters import Counters, Voice
from pipeline.demo.network import GATEWAY1, OUTSIDE, SERVICES
from pipeline.demo.verdict import Row, Verdict
from pipeline.summary import endpoint, printable

PICTURE = """\
 203.0.113.7     ┐                                            ┌─ vm1: gateway2 ─ nginx
 198.51.100.23   ├┬─ virtual IPs ──> gateway1 ═══ br1 ═══> ───┤
 2001:db8:bad::7 │└──── agent ─────> 172.16.23.1   │          └─ vm2: gateway2 ─ sshd, SMTP
 192.0.2.44      ┘                                 │
 attackers, a visitor                              │  each connection begins with a proxy
                                                   │  header: who it really is
                          ┌────────────────────────┴───┐
                          ▼                            ▼
                      Suricata                      Peeltap ──> vtap0 ──> Suricata"""

NARROW_PICTURE = """\
 attackers ──> agent ──> gateway1 ══ br1 ══> gateway2 ──> decoys
                        172.16.23.1  │
           each connection begins with a proxy header
               ┌─────────────────────┴─────┐
               ▼                           ▼
           Suricata            Peeltap ──> vtap0 ──> Suricata"""

# For terminals without these characters, one for one, so that the picture keeps its shape.
_ASCII = str.maketrans("─═│┌┐└┘├┤┬┴▼✓✗", "-=|++++++++v*x")
NARROW = 92
"""Columns below which the picture is the smaller one."""
VERY_NARROW = 72
"""Columns below which a row of the table is two lines."""
_REFRESH = 0.25
"""Seconds between two looks at the counters."""


class Screen:
    """What is shown while the show goes on; nothing of it where `console` is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._counters: Counters | None = None
        self._stage = ""
        self._step: Step | None = None
        self._number = 0

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """The redrawn picture, from entering to leaving; it leaves nothing behind."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            self._draw()
            yield
        self._live = None

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        self._stage, self._step = text, None
        self._draw()

    def playing(self, step: Step) -> None:
        """Say what is being played now."""
        self._step = step
        self._number += 1

    @contextlib.contextmanager
    def counting(self, counters: Counters) -> Iterator[None]:
        """Look at the counters now and then, as long as there is a terminal to show them."""
        if self._live is None:
            yield
            return
        self._counters = counters
        done = threading.Event()

        def look() -> None:
            while not done.wait(_REFRESH):
                counters.read()
                self._draw()

        watch = threading.Thread(target=look, name="counters", daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._moving(), refresh=True)

    def _moving(self) -> RenderableType:
        plain = self._console.options.ascii_only
        parts: list[RenderableType] = [picture(self._console, plain, self._step), Text()]
        if self._counters is not None:
            parts += [counts(self._counters, plain), Text()]
        if self._step is not None:
            who = OUTSIDE[self._step.who]
            bar = ProgressBar(total=len(STEPS), completed=self._number, width=20)
            line = Text.assemble(
                (f" {who}", "bold red"),
                (f"  {self._step.what}  ", "bold"),
                (endpoint(*self._step.target), "green"),
            )
            parts.append(Table.grid(padding=(0, 1)))
            parts[-1].add_row(Text(" playing", "dim"), bar, line)  # type: ignore[union-attr]
        elif self._stage:
            parts.append(Text(f" {self._stage} ...", style="dim"))
        if self._counters is not None:
            parts += [Text(), *_latest(self._counters.corrected, plain)]
        return Group(*parts)


def picture(console: Console, plain: bool, step: Step | None = None) -> Text:
    """The way of an attack, and where both Suricatas are; `step` goes its way now."""
    drawn = NARROW_PICTURE if console.width < NARROW else PICTURE
    text = Text(drawn.translate(_ASCII) if plain else drawn, no_wrap=True, overflow="crop")
    text.highlight_words([*list(OUTSIDE.values())[:3], "attackers"], "bold red")
    text.highlight_words(["nginx", "sshd, SMTP", "decoys"], "bold green")
    text.highlight_words(["Peeltap"], "bold cyan")
    text.highlight_words(
        ["each connection begins with a proxy header", "each connection begins with a proxy"], "dim"
    )
    text.highlight_words(["header: who it really is", "attackers, a visitor"], "dim")
    if step is not None:
        [service] = [one for one in SERVICES if one.decoy == step.target]
        way = ["agent" if service.agent else "virtual IPs", f"{service.vm}:"]
        text.highlight_words([OUTSIDE[step.who], *way], "reverse")
    return text


def counts(counters: Counters, plain: bool) -> RenderableType:
    """Both sides' numbers beside each other."""
    table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
    table.add_column("")
    table.add_column("Suricata on br1", min_width=20)
    table.add_column("with Peeltap, on vtap0", min_width=20)
    packets = counters.packets
    table.add_row(" packets", _n(packets.get("br1", 0)), _n(packets.get("vtap0", 0)))
    if counters.stripped is not None:
        table.add_row(" headers", "read as payload", f"{_n(counters.stripped)} taken out")
    table.add_row(
        Text(" alerts", "bold"),
        Text(_n(counters.alone.alerts), "bold red"),
        Text(_n(counters.corrected.alerts), "bold green"),
    )
    table.add_row(" attackers", _who(counters.alone, "red"), _who(counters.corrected, "bold red"))
    return table


def _who(voice: Voice, style: str) -> Text:
    return Text("\n".join(printable(who) for who, _ in voice.named.most_common(4)) or "none", style)


def _latest(voice: Voice, plain: bool) -> Iterator[RenderableType]:
    for alert in voice.latest:
        yield Text.assemble(
            (f" {printable(alert.source):<16}", "bold red"),
            (" -> " if plain else " ─> "),
            (endpoint(printable(alert.decoy), alert.port), "green"),
            f"  {printable(alert.signature.removeprefix('PEELTAP '))}",
            no_wrap=True,
            overflow="ellipsis",
        )


# --- The outcome ---------------------------------------------------------------------------------


def outcome(verdict: Verdict, counters: Counters, version: str, console: Console) -> None:
    """Print the picture, the numbers, the table, and what they mean."""
    plain = console.options.ascii_only
    console.print()
    console.print(picture(console, plain))
    console.print()
    console.print(counts(counters, plain), highlight=False)
    console.print()
    title = f" What was played, and what Suricata {version} said of it"
    console.print(title, style="bold", highlight=False, markup=False)
    console.print(rows(verdict, console.width < VERY_NARROW, plain), highlight=False)
    console.print()
    for line in sentences(verdict):
        console.print(Padding(line, (0, 0, 0, 1), expand=False), highlight=False)
    console.print()


def rows(verdict: Verdict, narrow: bool, plain: bool) -> RenderableType:
    """One row for each thing that somebody did."""
    if narrow:
        return Group(*(_two_lines(row, plain) for row in verdict.rows))
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("what happened")
    table.add_column("on br1", no_wrap=True)
    table.add_column("on vtap0", no_wrap=True)
    table.add_column("Peeltap names", no_wrap=True)
    for row in verdict.rows:
        table.add_row(
            Text(row.what, "bold" if row.attack else ""),
            _said(row.alone, row),
            _said(row.tap, row),
            _named(row, plain),
        )
    return table


def _said(by: str | None, row: Row) -> Text:
    if by is None:
        return Text("misses it", "red")
    word = "blames" if row.attack else "sees"
    return Text(f"{word} {printable(by)}", "" if by == row.who else "yellow")


def _named(row: Row, plain: bool) -> Text:
    if row.named is None:
        return Text(f"nobody, not {row.who}", "bold red")
    mark = " ✓" if row.right else f" ✗ it was {row.who}"
    style = ("bold " if row.attack else "") + ("green" if row.right else "red")
    return Text(printable(row.named) + (mark.translate(_ASCII) if plain else mark), style)


def _two_lines(row: Row, plain: bool) -> Text:
    return Text.assemble(
        (f" {row.what}\n", "bold" if row.attack else ""),
        "   br1 ",
        _said(row.alone, row),
        ", Peeltap names ",
        _named(row, plain),
    )


def sentences(verdict: Verdict) -> list[Text]:
    """The outcome for somebody who reads nothing else."""
    blamed = ", ".join(map(printable, verdict.blamed))
    alone = f"raised {_alerts(verdict.alerts_alone)}"
    first = Text.assemble("On br1 Suricata ", (alone, "bold red"))
    if blamed:
        ours = ", a proxy of your own" if verdict.blamed == [GATEWAY1] else ""
        first.append(f" and blamed {blamed}{ours}")
    first.append(".")
    named = ", ".join(map(printable, verdict.attackers)) or "nobody"
    second = Text.assemble(
        "With Peeltap it ",
        (f"raised {_alerts(verdict.alerts)}", "bold green"),
        " and named ",
        (named, "bold"),
        "." if verdict.right else "",
    )
    if verdict.right:
        return [first, second]
    wronged = ", ".join(map(printable, verdict.wronged))
    wrong = [row.what for row in verdict.rows if not row.right]
    third = Text("This is not the truth", "bold red")
    third.append(f"; not named rightly: {', '.join(wrong)}" if wrong else "")
    third.append(f"; accused without reason: {wronged}" if wronged else "")
    return [first, second, third]


def _alerts(number: int) -> str:
    return {0: "no alert", 1: "1 alert"}.get(number, f"{_n(number)} alerts")


def _n(number: int) -> str:
    return f"{number:,}"
