"""Fuzzes the correction of EVE for so many seconds: `python scripts/fuzz_eve.py [SECONDS]`.

With atheris, guided by the coverage of the correction's own code; its finds stay under
core/fuzz/target/corpus/eve, beside those of the Rust targets. Without atheris, which has no wheel
for every Python, it says so, and mutates the corpus with no guide but Hypothesis's generators.
Exit code: 0 nothing found, 1 a failure (its input is under core/fuzz/artifacts/eve).
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ARTIFACTS = ROOT / "core" / "fuzz" / "artifacts" / "eve"
FOUND = ROOT / "core" / "fuzz" / "target" / "corpus" / "eve"
sys.path.insert(0, str(ROOT))


def guided(arguments: list[str]) -> None:
    """Run under atheris, in a process of its own: libFuzzer ends the one that it is in."""
    import atheris

    with atheris.instrument_imports(include=["suricata"]):
        import suricata.enrich
        import suricata.eve
        import suricata.splice  # noqa: F401
    from tests.fuzz.eve import check

    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


def with_atheris(seconds: int) -> bool:
    """Whether nothing was found."""
    from tests.fuzz.eve import CORPUS

    for folder in (FOUND, ARTIFACTS):
        folder.mkdir(parents=True, exist_ok=True)
    log = FOUND.with_suffix(".log")
    options = [
        str(FOUND),
        str(CORPUS),
        f"-dict={CORPUS.parent / 'eve.dict'}",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={ARTIFACTS}/",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    command = [sys.executable, __file__, "--guided", *options]
    with log.open("wb") as sink:
        done = subprocess.run(command, stdout=sink, stderr=sink)
    text = log.read_text(errors="replace")
    if done.returncode != 0:
        sys.stderr.write(text)
        return False
    runs = text.rpartition("stat::number_of_executed_units:")[2].split()
    print(f"fuzz: eve, {seconds} s: {runs[0] if runs else '?'} runs")
    return True


def without_atheris(seconds: int) -> bool:
    """The same target on generated input, until the time is over."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from tests.fuzz.eve import CORPUS, check

    seeds = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    tokens = [b"\n", b'"', b"{", b"}", b"\\", b"\xff", b"\0", b'"src_ip":', b'{"timestamp":"']
    pieces = st.sampled_from(tokens) | st.binary(max_size=8)
    edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 16), pieces), max_size=6)
    end = time.monotonic() + seconds
    runs = 0

    @settings(
        max_examples=1_000_000_000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds) | st.binary(max_size=200), edits)
    def mutate(data: bytes, changes: list[tuple[float, int, bytes]]) -> None:
        nonlocal runs
        if time.monotonic() > end:
            raise TimeoutError
        for place, gone, piece in changes:
            at = int(place * len(data))
            data = data[:at] + piece + data[at + gone :]
        runs += 1
        try:
            check(data)
        except Exception:
            ARTIFACTS.mkdir(parents=True, exist_ok=True)
            (ARTIFACTS / "found").write_bytes(data)
            raise

    try:
        mutate()
    except TimeoutError:
        pass
    except BaseExceptionGroup as failures:
        # Hypothesis tells the end of the time and a real failure together.
        if failures.subgroup(lambda failure: not isinstance(failure, TimeoutError)):
            raise
    print(
        f"fuzz: eve, {seconds} s: {runs} runs, not guided by coverage,"
        " for atheris is not installed (remedy: make setup)"
    )
    return True


def main() -> int:
    """Say what is run, and run it."""
    if sys.argv[1:2] == ["--guided"]:
        guided(sys.argv[2:])
        return 0
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    if importlib.util.find_spec("atheris") is None:
        return 0 if without_atheris(seconds) else 1
    return 0 if with_atheris(seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
