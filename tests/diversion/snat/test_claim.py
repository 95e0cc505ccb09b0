"""Names that one process of a network namespace has."""

from __future__ import annotations

import subprocess
import sys
import uuid

from diversion.snat.claim import Claim


def test_a_name_is_had_once_and_can_be_given_back() -> None:
    name = f"test-{uuid.uuid4()}"
    one, other = Claim(name), Claim(name)
    assert one.take()
    assert one.held
    assert not other.take()
    assert not other.held
    one.give()
    one.give()
    assert other.take()
    other.give()


def test_a_name_is_free_when_its_process_is_killed() -> None:
    name = f"test-{uuid.uuid4()}"
    script = (
        "import sys, time; from diversion.snat.claim import Claim; claim = Claim(sys.argv[1]);"
        "print(claim.take(), flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", script, name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        claim = Claim(name)
        assert not claim.take()
        process.kill()
        process.wait()
        assert claim.take()
        claim.give()
