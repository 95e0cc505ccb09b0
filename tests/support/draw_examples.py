"""Draws docs/topologies anew from fixtures/topologies: `python -m tests.support.draw_examples`."""

from __future__ import annotations

from pathlib import Path

from diversion.setup.desired import desired
from diversion.topology.declared import declared
from diversion.topology.svg import svg
from pipeline import topology_file

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "fixtures/topologies").glob("*.yaml"))


def drawn(example: Path) -> str:
    """The picture of an example, as `peeltap topology --plain --format svg` draws it."""
    return svg(declared(desired(topology_file.load(example).settings, "nftables")))


def target(example: Path) -> Path:
    """Where the picture lies."""
    return ROOT / "docs/topologies" / f"{example.stem}.svg"


if __name__ == "__main__":
    for example in EXAMPLES:
        target(example).write_text(drawn(example))
