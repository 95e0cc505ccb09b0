"""What a person sees of the setup stage."""

from __future__ import annotations

from typing import TextIO

from diversion.setup.frr import Session
from pipeline.setup import Outcome


def write(action: str, outcome: Outcome, stream: TextIO) -> None:
    """Print an outcome: its steps as commands, and a sentence that sums it up."""
    for lines in outcome.steps if action in ("plan", "status") else ():
        stream.write("".join(f"{line}\n" for line in lines))
    for line in outcome.left:
        stream.write(f"{line}\n")
    for one in outcome.sessions:
        stream.write(f"{_session(one)}\n")
    stream.write(f"{_sentence(action, outcome)}\n")


def _session(session: Session) -> str:
    if session.stands:
        since = f" for {session.seconds} s" if session.seconds is not None else ""
        return f"BGP with {session.neighbour}: stands{since}, {session.routes} routes"
    return (
        f"BGP with {session.neighbour}: {session.state}; see that it is up, has this host as its "
        "neighbour, and that TCP port 179 gets through"
    )


def _sentence(action: str, outcome: Outcome) -> str:
    count = len(outcome.steps)
    steps = f"{count} step" + ("" if count == 1 else "s")
    name = outcome.topology
    match action, outcome.state:
        case ("plan", "complete") | ("status", "up"):
            return f"{name}: the host is as the file says"
        case "plan", _:
            return f"{name}: {steps} to take"
        case "status", "partial":
            return f"{name}: the host is as the file says; not all of its sessions stand"
        case "status", "down":
            return f"{name}: is not up"
        case "status", _:
            return f"{name}: the host differs; {steps} back to what the file says"
        case "up", _:
            return f"{name}: is up; " + (f"{steps} taken" if count else "there was nothing to do")
        case _:
            return f"{name}: is down; " + (
                f"{steps} taken back" if count else "there was nothing to take back"
            )
