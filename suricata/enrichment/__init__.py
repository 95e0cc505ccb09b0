"""What is added to an event that its connection's flow record does not know.

    corrected line ──> Stage ──> enrichment ──> sessions ──> line with more in its `peeltap`

settings     the `enrichment:` and `sessions:` sections of the configuration
stage        lines in, lines out: what is added, and who is left out
enrichment   asks all of the following for one event

names        decoys, segments and agents, by address
geoip        country, city and autonomous system of the attacker, from MaxMind's files
reverse_dns  the attacker's host name, asked for by threads of its own
lists        attackers that are dropped or tagged
networks     addresses and prefixes, looked up
watched      a file that is read again when it changes

Nothing here waits for anything: what is not known at once is left out. What cannot be had at the
start is an error, EnrichmentError; what goes away later is a trouble that `status` tells.
"""

from __future__ import annotations

from .watched import EnrichmentError

__all__ = ["EnrichmentError"]
