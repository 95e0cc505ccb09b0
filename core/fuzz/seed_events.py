"""Makes the seed corpus of events anew: `python core/fuzz/seed_events.py`.

Events of the samples, a type each, as Suricata writes them; two lines of one connection, of which
the first teaches what goes into the second; and a torn one between them.
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MOST = 2000


def main() -> None:
    """Write the seeds."""
    corpus = HERE / "corpus" / "events"
    corpus.mkdir(parents=True, exist_ok=True)
    first: dict[str, bytes] = {}
    for line in (ROOT / "fixtures" / "eve" / "events.json").read_bytes().splitlines():
        if len(line) <= MOST:
            first.setdefault(json.loads(line)["event_type"], line)
    for kind, line in first.items():
        (corpus / kind).write_bytes(line + b"\n" + line + b"\n")
    line = first["http"]
    (corpus / "torn").write_bytes(b"\n".join([line, line[: len(line) // 2], line, b""]))


if __name__ == "__main__":
    main()
