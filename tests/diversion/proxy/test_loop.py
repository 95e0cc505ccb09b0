"""The loop: descriptors, deadlines and calls, with time as it comes."""

from __future__ import annotations

import os
import select
import socket
import threading
import time

import pytest

from diversion.proxy.loop import TICK, Deadline, Loop


def test_calls_from_another_thread_wake_it() -> None:
    loop = Loop()
    order: list[int] = []

    def elsewhere() -> None:
        for number in range(1000):
            loop.call(lambda number=number: order.append(number))  # type: ignore[misc]
        loop.stop()

    thread = threading.Thread(target=elsewhere)
    loop.call(thread.start)
    loop.run()
    thread.join()
    assert order == list(range(1000))
    loop.close()


def test_a_deadline_is_asked_again_until_it_has_enough() -> None:
    loop = Loop()
    asked: list[float] = []

    def due(now: float) -> float | None:
        asked.append(now)
        if len(asked) == 3:
            loop.stop()
            return None
        return now + TICK

    begin = loop.now
    loop.at(begin, Deadline(due))
    loop.run()
    assert len(asked) == 3
    assert asked == sorted(asked)
    assert asked[0] >= begin
    loop.close()


def test_a_deadline_that_is_cancelled_or_moved_by_another_is_not_asked() -> None:
    loop = Loop()
    asked: list[str] = []
    deadlines: dict[str, Deadline] = {}

    def make(name: str) -> Deadline:
        def due(now: float) -> float | None:
            asked.append(name)
            for other in deadlines:
                if other != name:
                    loop.cancel(deadlines[other])
            loop.stop()
            return None

        return Deadline(due)

    for name in ("one", "other"):
        deadlines[name] = make(name)
        loop.at(loop.now, deadlines[name])
    loop.run()
    assert len(asked) == 1
    loop.close()


def test_what_is_put_off_to_the_end_of_the_round_is_fair() -> None:
    """A busy one that always has more to do does not keep a descriptor from its turn."""
    loop = Loop()
    read, write = os.pipe()
    turns = 0

    def busy() -> None:
        nonlocal turns
        turns += 1
        if turns == 5:
            os.write(write, b"x")
        loop.soon(busy)

    def ready(_: int) -> None:
        loop.stop()

    loop.register(read, ready, select.EPOLLIN)
    loop.soon(busy)
    loop.run()
    assert 5 <= turns <= 7
    for fd in (read, write):
        os.close(fd)
    loop.close()


def test_an_idle_loop_sleeps() -> None:
    """It takes no time of the processor while nothing happens."""
    loop = Loop()
    loop.at(loop.now + 1.0, Deadline(lambda now: loop.stop()))
    # This thread's own; others of the process may have work.
    before = time.thread_time()
    loop.run()
    assert time.thread_time() - before < 0.1, "of about a second"
    loop.close()


def test_a_descriptor_that_is_forgotten_is_not_called() -> None:
    loop = Loop()
    read, write = os.pipe()
    loop.register(read, lambda _: loop.forget(read), select.EPOLLIN)
    os.write(write, b"x")
    loop.at(loop.now + TICK, Deadline(lambda now: loop.stop()))
    # Level-triggered and not read: it stays ready, and is not called again.
    loop.run()
    loop.unregister(read)
    loop.register(write, lambda _: loop.stop(), select.EPOLLOUT)
    loop.run()
    for fd in (read, write):
        os.close(fd)
    loop.close()


def test_an_event_is_not_for_whoever_has_the_number_since() -> None:
    """Both ends are ready in one round; the first to be told gives the other's number away."""
    loop = Loop()
    ends = socket.socketpair()
    numbers = {ends[0].fileno(), ends[1].fileno()}
    silent, other = os.pipe()
    told: list[int] = []

    def ready(mine: int) -> None:
        (theirs,) = numbers - {mine}
        loop.forget(theirs)
        os.dup2(silent, theirs)
        loop.register(theirs, told.append, select.EPOLLIN)
        loop.unregister(mine)

    for fd in numbers:
        loop.register(fd, lambda _, fd=fd: ready(fd), select.EPOLLOUT)  # type: ignore[misc]
    loop.at(loop.now + TICK, Deadline(lambda now: loop.stop()))
    loop.run()
    assert told == []
    for sock in ends:
        sock.close()
    for fd in (silent, other):
        os.close(fd)
    loop.close()


def test_an_exception_ends_it_or_is_told() -> None:
    loop = Loop()

    def broken() -> None:
        raise LookupError("ours")

    loop.soon(broken)
    with pytest.raises(LookupError, match="ours"):
        loop.run()
    told: list[str] = []
    loop.failed = lambda error: told.append(str(error))
    loop.soon(broken)
    loop.call(broken)
    loop.at(loop.now, Deadline(lambda now: broken()))
    loop.at(loop.now + TICK, Deadline(lambda now: loop.stop()))
    loop.run()
    assert told == ["ours"] * 3
    loop.close()


@pytest.mark.parametrize("keep", [True, False])
def test_deadlines_that_come_and_go_cost_nothing_afterwards(keep: bool) -> None:
    """Neither memory for those that are no more, nor a look at all of them in each round."""
    loop = Loop()
    kept = [Deadline(lambda now: None) for _ in range(100 if keep else 0)]
    for at, deadline in enumerate(kept):
        loop.at(loop.now + 1000 + at, deadline)
    for at in range(10_000):
        passing = Deadline(lambda now: None)
        loop.at(loop.now + 10 + at, passing)
        loop.cancel(passing)
    assert len(loop._slots) == len(kept)
    assert len(loop._order) <= 3 * len(kept) + 100
    first = loop._timeout()
    assert 100 < first <= 1001 if keep else first == -1
    loop.close()


def test_deadlines_are_asked_in_their_order() -> None:
    loop = Loop()
    asked: list[int] = []
    deadlines = [Deadline(lambda now, at=at: asked.append(at)) for at in range(5)]  # type: ignore[misc]
    for at in (3, 0, 4, 1, 2):
        loop.at(loop.now - 50 + 5 * at, deadlines[at])
    loop.at(loop.now - 100, deadlines[2])
    loop.at(loop.now, Deadline(lambda now: loop.stop()))
    loop.run()
    assert asked == [2, 0, 1, 3, 4]
    assert not any(one.is_set for one in deadlines)
    loop.close()
