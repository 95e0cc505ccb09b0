"""The picture of this host, or of a topology file before it is applied."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

from diversion.setup.plan import Plan
from diversion.setup.steps import Make, Remove, Set
from diversion.setup.things import Key
from diversion.topology import draw, outside
from diversion.topology.declared import declared
from diversion.topology.discover import discover
from diversion.topology.graph import Graph, State
from diversion.topology.svg import svg
from pipeline import setup, topology_file
from pipeline.errors import RunError, UsageError

Format = Literal["tree", "json", "dot", "svg"]
FORMATS: Final[tuple[Format, ...]] = ("tree", "json", "dot", "svg")


def of_host(docker: str | None = None, libvirt: str | None = None) -> Graph:
    """Look at this host; `docker` is a saved `docker network inspect`, `libvirt` a directory.

    Raises UsageError for a file that cannot be used, RunError where the kernel says no.
    """
    try:
        graph = discover()
    except OSError as error:
        raise RunError(f"the network cannot be looked at: {error.strerror}; run as root") from error
    try:
        if docker is None:
            outside.docker(graph, outside.ask_docker())
        else:
            outside.docker(graph, outside.parse(Path(docker).read_text(), docker))
    except (OSError, UnicodeDecodeError, outside.OutsideError) as error:
        raise UsageError(f"--docker {docker}: {error}") from error
    for text in outside.libvirt_files(Path(libvirt) if libvirt else outside.LIBVIRT):
        outside.libvirt(graph, text)
    if (told := _open_vswitch()) is not None:
        outside.open_vswitch(graph, *told)
    return graph


def _open_vswitch() -> tuple[object, object] | None:
    program = shutil.which("ovs-vsctl")
    if program is None:
        return None
    told = []
    for table in ("Bridge", "Port"):
        argv = [program, "--timeout=3", "--format=json", "list", table]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            return None
        told.append(outside.parse(done.stdout, "ovs-vsctl"))
    return told[0], told[1]


def of_file(path: str, directory: Path, *, compare: bool = True) -> Graph:
    """Draw a topology file; `compare`: mark what applying it to this host would do."""
    file = topology_file.load(path)
    wanted = setup.wanted(file)
    if not compare:
        return declared(wanted)
    return declared(wanted, states(setup.planned(file, directory)))


def states(plan: Plan) -> dict[Key, State]:
    """What the steps do with each thing: made, changed, gone."""
    found: dict[Key, State] = {}
    for action in plan.actions:
        match action.step:
            case Make(thing):
                found[thing.key] = "changed" if thing.key in found else "new"
            case Remove(thing):
                found[thing.key] = "gone"
            case Set(setting):
                for key in setting.stands_on:
                    found.setdefault(key, "changed")
    return found


def text(graph: Graph, form: Format) -> str:
    """Write a picture in one of the formats."""
    match form:
        case "tree":
            return draw.tree(graph)
        case "dot":
            return draw.dot(graph)
        case "svg":
            return svg(graph)
        case "json":
            return json.dumps(graph.as_dict(), indent=2) + "\n"
