"""`peeltap run` with time enough for its end, as tests start it.

A stop has five seconds, of which Suricata gets the most. On a machine where many tests run at once
it may need more; then it is killed, and what it would have said last is lost. Tests ask whether
anything is lost where there is time.
"""

from __future__ import annotations

from pipeline import cli, run

for _name in ("MOVE_SECONDS", "SURICATA_SECONDS", "DRAIN_SECONDS"):
    setattr(run, _name, 30.0)

if __name__ == "__main__":
    cli.main()
