"""Peeltap's own proxies in the demo: the agent, gateway1 on the host, gateway2 in one of the VMs.

The other VM's gateway2 stays HAProxy. `hops` say what each place does; here that becomes the files
that an operator would write. gateway1 gives the agent its listeners.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from diversion.namespaces import Program, Space
from diversion.proxy.addresses import Ends, show_ends
from pipeline.demo.network import AGENT, GATEWAY1, SERVICES

if TYPE_CHECKING:
    from pipeline.demo.programs import Hop

NAME: Final = "agent"
"""What gateway1 knows the agent by."""


def agent(space: Space, hops: Sequence[Hop]) -> Program:
    """The agent; it gets its listeners from gateway1, which must run."""
    config = {"name": NAME, "gateway1": show_ends(hops[0].to)}
    path = space.directory / "agent.json"
    path.write_text(json.dumps(config) + "\n")
    return _serving(space, "agent", path, [hop.listen for hop in hops], plain=True)


def gateway1(space: Space, hops: Sequence[Hop]) -> Program:
    """gateway1: the host's own virtual addresses, and what the agent brings."""
    decoys = {service.name: {"gateway2": show_ends(service.leg)} for service in SERVICES}
    rules = [
        {
            **({"agent": NAME} if service.agent else {}),
            "listen": [show_ends(service.decoy)],
            "decoy": service.name,
        }
        for service in SERVICES
    ]
    _write(space.directory / "rules.yaml", {"decoys": decoys, "rules": rules})
    # All that an agent brings comes over one connection to one listener.
    [for_agents, *_] = [hop.listen for hop in hops if hop.accepts]
    own = [hop.listen for hop in hops if not hop.accepts]
    config = {
        "gateway1": {
            "listen": [{"address": show_ends(for_agents)}],
            "agents": {NAME: {"from": [AGENT]}},
            "rules": "rules.yaml",
        }
    }
    path = _write(space.directory / "gateway1.yaml", config)
    return _serving(space, "gateway", path, [for_agents, *own], plain=True)


def gateway2(space: Space, hops: Sequence[Hop]) -> Program:
    """gateway2: reaches the decoy as the attacker, whose address then stands in the decoy's log."""
    config = {
        "gateway2": {
            "listen": [
                {"address": show_ends(hop.listen), "decoy": [show_ends(hop.to)]} for hop in hops
            ],
            "trusted": [GATEWAY1],
            "source": "transparent",
        }
    }
    path = _write(space.directory / f"gateway2-{space.name}.yaml", config)
    # It takes addresses that are not its own.
    return _serving(space, "gateway", path, [hop.listen for hop in hops], plain=False)


def _write(path: Path, config: dict[str, Any]) -> Path:
    text = yaml.safe_dump(config, sort_keys=False)
    path.write_text(f"# Made by peeltap demo.\n{text}")
    return path


def _serving(
    space: Space, command: str, config: Path, listens: Sequence[Ends], *, plain: bool
) -> Program:
    # It starts elsewhere, and has to be this Peeltap, not one that is installed.
    here = str(Path(__file__).parents[2])
    call = f"import sys; sys.path.insert(0, {here!r}); from pipeline.cli import main; main()"
    argv: list[str | Path] = [sys.executable, "-c", call, command, "--config", config]
    program = space.spawn(argv, log=f"{config.stem}.log", plain=plain)
    space.wait_listening(program, *(port for _, port in listens))
    return program
