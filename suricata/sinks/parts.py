"""A batch in parts: what is to be tried smaller, and what is known when one of the parts fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .client import Partly, Rejected, Unavailable


class Outcome(NamedTuple):
    """What the other side said of one part: all but these were taken."""

    rejected: Sequence[Rejected] = ()
    again: Sequence[int] = ()
    """Places in the batch that are to be tried again."""
    smaller: Sequence[int] = ()
    """Places that are to be tried again at once, in two halves; more than one."""
    sentence: str = ""
    """Why some are to be tried again."""
    retry_after: float | None = None


class Smaller(Exception):  # noqa: N818 (a request, not a fault)
    """A part is refused as a whole, and smaller ones may do; the text is why, if it is a single."""


def in_parts(
    parts: Sequence[Sequence[int]], send: Callable[[Sequence[int]], Outcome]
) -> list[Rejected]:
    """Send each of `parts` (places in the batch), halved where `send` says Smaller.

    Gives the rejected ones. Raises Unavailable if nothing was done, Partly if a part of it was;
    what comes after a part that is unavailable is not tried.
    """
    taken: set[int] = set()
    rejected: list[Rejected] = []
    again = False
    sentence, retry_after = "", None
    todo = [part for part in reversed(parts) if part]
    while todo:
        part = todo.pop()
        try:
            outcome = send(part)
        except Smaller as error:
            if len(part) == 1:
                rejected.append(Rejected(part[0], str(error)))
            else:
                half = len(part) // 2
                todo += [part[half:], part[:half]]
            continue
        except Unavailable as error:
            again, sentence, retry_after = True, str(error), error.retry_after
            break
        rejected += outcome.rejected
        if outcome.smaller:
            half = len(outcome.smaller) // 2
            todo += [outcome.smaller[half:], outcome.smaller[:half]]
        taken.update(_all_but(part, outcome))
        if outcome.again:
            again, sentence, retry_after = True, outcome.sentence, outcome.retry_after
    if not again:
        return rejected
    if taken or rejected:
        raise Partly(sentence, taken=taken, rejected=rejected, retry_after=retry_after)
    raise Unavailable(sentence, retry_after=retry_after)


def _all_but(part: Sequence[int], outcome: Outcome) -> Iterator[int]:
    if not (outcome.rejected or outcome.again or outcome.smaller):
        yield from part
        return
    without = {one.index for one in outcome.rejected}
    without.update(outcome.again, outcome.smaller)
    yield from (at for at in part if at not in without)
