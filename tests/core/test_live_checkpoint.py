"""A worker that goes on where another one stopped, on real devices."""

from __future__ import annotations

import orjson
import pytest
from peeltap_core import Live

from tests.core.talks import talk
from tests.core.test_live import frames_of, lines
from tests.support.driver import configure
from tests.support.rig import Rig

pytestmark = pytest.mark.netns


def pieces_of(live: Live, *, full: bool) -> bytes:
    live.checkpoint_begin(full=full)
    pieces = []
    while (piece := live.checkpoint_some(16)) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def record(live: Live) -> dict[str, object]:
    line: dict[str, object] = orjson.loads(live.take_records().splitlines()[-1])
    return line


def test_a_stopped_worker_s_connections_go_on_in_another() -> None:
    conversation = talk()
    frames = frames_of(conversation)
    config = configure(announce=True)
    with Rig() as rig:
        first = rig.live(config)
        rig.send(frames[:6])
        rig.settle(first, packets=6)
        announced = record(first)
        checkpoint = pieces_of(first, full=True)
        assert checkpoint == first.take_checkpoint(full=True)
        del first
        rig._lives.clear()
        second = rig.live(config)
        assert second.resume(checkpoint) == 1
        rig.send(frames[6:])
        rig.settle(second, packets=len(frames) - 6)
        out = rig.read()
        assert [conversation.line(frame) for frame in out] == lines(1)
        while second.close_some(1):
            pass
        final = record(second)
        assert final["id"] == announced["id"]
        assert final["packets"] == {"to_server": 6, "to_client": 5}
        with pytest.raises(ValueError, match="this is no checkpoint"):
            second.resume(b"nothing")
