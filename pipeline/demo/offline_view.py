"""The screen of the offline demo: the picture, then both Suricatas beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.demo.offline import Comparison
from pipeline.demo.sides import UNDERSTOOD, Side
from pipeline.summary import endpoint, printable
from reassembly.records import canonical_ip

PICTURE = """\
 attackers ──> proxies ──> gateway1 ═══ br1 ═══> gateway2 ──> decoys
 203.0.113.7               172.16.23.1   │       172.16.23.2   192.168.110.2
 2001:db8::7                             │  each connection begins with a
                                         │  proxy header: who it really is
                         ┌───────────────┴──────────────┐
                         ▼                              ▼
                     Suricata                Peeltap ──> Suricata"""

NARROW_PICTURE = """\
 attackers ──> gateway1 ═══ br1 ═══> gateway2 ──> decoys
                             │
        each connection begins with a proxy header:
                     who it really is
              ┌──────────────┴─────────────┐
              ▼                            ▼
          Suricata              Peeltap ──> Suricata"""

# For terminals without these characters, one for one, so that the picture keeps its shape.
_ASCII = str.maketrans("─═│┌┴┐▼█", "-=|+++v#")
SIDE_BY_SIDE = 96
"""Columns from which both panels fit beside each other."""
NARROW = 78
"""Columns below which the picture is the smaller one and an alert has a line for its signature."""
_BAR = 12


def render(compared: Comparison, console: Console) -> None:
    """Print the whole comparison."""
    plain = console.options.ascii_only
    stats = compared.summary.stats
    console.print()
    console.print(_picture(plain, console.width < NARROW), no_wrap=True, overflow="crop")
    console.print()
    console.print(
        f" {len(compared.recordings)} recordings of real attacks: "
        f"{sum(stats.get('connections', {}).values()):,} connections, "
        f"{stats.get('packets', {}).get('in', 0):,} packets, seen by Suricata {compared.version}",
        style="bold",
        highlight=False,
    )
    console.print()
    _panels(compared, console, plain)
    _alerts(compared, console)
    _example(compared, console)
    _next(compared, console)


def _picture(plain: bool, narrow: bool) -> Text:
    picture = NARROW_PICTURE if narrow else PICTURE
    text = Text(picture.translate(_ASCII) if plain else picture)
    text.highlight_words(["203.0.113.7", "2001:db8::7", "attackers"], "bold red")
    text.highlight_words(["192.168.110.2", "decoys"], "bold green")
    text.highlight_words(["Peeltap"], "bold cyan")
    text.highlight_words(["each connection begins with a", "proxy header: who it really is"], "dim")
    return text


def _panels(compared: Comparison, console: Console, plain: bool) -> None:
    most = max(side.understood[name] for side in _sides(compared) for name in UNDERSTOOD)
    wide = console.width >= SIDE_BY_SIDE
    width = min(console.width // 2 - 1, 64) if wide else min(console.width, 76)
    panels = [
        Panel(
            _side(side, most, plain),
            title=title,
            title_align="left",
            border_style=style,
            width=width,
            padding=(0, 1),
        )
        for side, title, style in (
            (compared.alone, "Suricata alone", "red"),
            (compared.peeltap, "Suricata with Peeltap", "green"),
        )
    ]
    if not wide:
        for panel in panels:
            console.print(panel)
        return
    height = max(_height(panel, console) for panel in panels)
    for panel in panels:
        panel.height = height
    console.print(Columns(panels, padding=(0, 1)))


def _height(panel: Panel, console: Console) -> int:
    width = panel.width or console.width
    return len(console.render_lines(panel, console.options.update(width=width)))


def _sides(compared: Comparison) -> tuple[Side, Side]:
    return compared.alone, compared.peeltap


def _side(side: Side, most: int, plain: bool) -> RenderableType:
    counts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    counts.add_column()
    counts.add_column(justify="right", min_width=4)
    counts.add_column()
    for name in UNDERSTOOD:
        counts.add_row(*_row(name, side.understood[name], most, plain))
    alerts = sum(row.count for row in side.alerts)
    counts.add_row("", "", "")
    counts.add_row(*_row("alerts", alerts, most, plain, bold=True))
    return Group(
        Text("understood of what attackers sent", style="dim"),
        counts,
        Text(),
        Text("who connected to whom, it says", style="dim"),
        _flows(side),
    )


def _row(name: str, n: int, most: int, plain: bool, bold: bool = False) -> tuple[Text, Text, Text]:
    style = ("bold " if bold else "") + ("green" if n else "red")
    bar = ("#" if plain else "█") * min(_BAR, max(1, round(n * _BAR / max(most, 1)))) if n else ""
    return Text(name, style="bold" if bold else ""), Text(str(n), style=style), Text(bar, style)


def _flows(side: Side) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", min_width=4)
    table.add_column()
    for (source, destination), count in side.flows.most_common(5):
        table.add_row(f"{count} x", f"{printable(source)} -> {printable(destination)}")
    return table


def _alerts(compared: Comparison, console: Console) -> None:
    if not compared.peeltap.alerts:
        return
    wide = console.width >= SIDE_BY_SIDE
    blamed: dict[int, str] = {}
    for row in compared.alone.alerts:
        blamed.setdefault(row.signature_id, row.attacker)
    console.print()
    console.print(" What happened, and who it was", style="bold", highlight=False)
    if console.width < NARROW:
        _narrow_alerts(compared, blamed, console)
    else:
        _alert_table(compared, blamed, console, wide)
    console.print()
    console.print(_verdict(compared))


def _narrow_alerts(compared: Comparison, blamed: dict[int, str], console: Console) -> None:
    for row in compared.peeltap.alerts:
        attacked = endpoint(printable(row.decoy), row.decoy_port)
        alone = "blames proxy" if row.signature_id in blamed else "misses it"
        console.print(Text(f" {printable(row.signature.removeprefix('PEELTAP '))}"))
        console.print(
            Text.assemble(
                "   ",
                (printable(row.attacker), "bold red"),
                " -> ",
                (attacked, "green"),
                ("  alone: ", "dim"),
                (alone, "red"),
            )
        )


def _alert_table(
    compared: Comparison, blamed: dict[int, str], console: Console, wide: bool
) -> None:
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("attacker", style="bold red", no_wrap=True)
    table.add_column("attacked", style="green", no_wrap=True)
    table.add_column("signature", overflow="fold")
    if wide:
        table.add_column("times", justify="right")
    table.add_column("Suricata alone" if wide else "alone", no_wrap=True)
    for row in compared.peeltap.alerts:
        scapegoat = blamed.get(row.signature_id)
        cells = [
            Text(printable(row.attacker)),
            Text(endpoint(printable(row.decoy), row.decoy_port)),
            Text(printable(row.signature.removeprefix("PEELTAP "))),
        ]
        if wide:
            cells.append(Text(str(row.count)))
            cells.append(Text(f"blames {scapegoat}" if scapegoat else "misses it", "red"))
        else:
            cells.append(Text("blames proxy" if scapegoat else "misses it", "red"))
        table.add_row(*cells)
    console.print(table)


def _verdict(compared: Comparison) -> Text:
    """Say the outcome in one line."""
    alone = sum(row.count for row in compared.alone.alerts)
    found = sum(row.count for row in compared.peeltap.alerts)
    named = sorted({row.attacker for row in compared.alone.alerts})
    attackers = {row.attacker for row in compared.peeltap.alerts}
    text = Text(" ")
    text.append(f"Alone: {alone} alerts", "bold red")
    text.append(f", all against {', '.join(named)}, a proxy of your own. " if named else ". ")
    text.append(f"With Peeltap: {found} alerts", "bold green")
    text.append(f", against the {len(attackers)} true attackers.")
    return text


def _example(compared: Comparison, console: Console) -> None:
    """Show one event's addresses before and after."""
    event = compared.peeltap.example
    observed = (event or {}).get("peeltap", {}).get("observed")
    if event is None or observed is None:
        return
    console.print()
    console.print(
        " One alert's addresses, on the wire and corrected", style="bold", highlight=False
    )
    table = Table(box=None, show_header=False, padding=(0, 1))
    for name, ends, style in (("on br1", observed, "dim"), ("it was", event, "bold")):
        route = " -> ".join(
            endpoint(canonical_ip(ends[f"{side}_ip"]), ends.get(f"{side}_port"))
            for side in ("src", "dest")
        )
        table.add_row(Text(name, "dim"), Text(route, style))
    console.print(table)


def _next(compared: Comparison, console: Console) -> None:
    lines: Sequence[str] = (
        " Try it on a capture of your own:",
        "   peeltap replay br1.pcap --config peeltap.yaml --out clean.pcap --suricata"
        " --eve events.json",
    )
    if compared.kept is not None:
        lines = (f" Everything is in {compared.kept}", *lines)
    console.print()
    for line in lines:
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    console.print()
