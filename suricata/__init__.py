"""One Suricata: its configuration, its process, and the correction of its events.

settings      the `suricata:` section of the configuration
config        the generated suricata.yaml: an overlay on the distribution's
process       runs the installed Suricata on a capture; says in one sentence what went wrong

streams       files and pipes of EVE lines, and the clock
enrich        lines in, corrected lines out; sans-IO
fast          the usual event's short way through it: answers kept for a connection's next events
eve           which end of a connection each place of an event names
splice        changes single values in a JSON text, to the byte
community_id  the hash of a 5-tuple
summary       alerts added up for a table
flows         what is asked of flow records and their store, which are handed in

event_settings  the `events:` and `sinks:` sections of the configuration
sources       where a live service's events come from: followed files, sockets
sinks         where they go, and how far they got
relay         source to sinks in one thread; commits what has arrived
ledger        which batches have arrived; sans-IO
notices       sentences for the log, not too often

process ──> eve.json ──> streams ──> enrich ──> corrected EVE, and a summary
                                        │
                                    flow records

sources ──> relay ──> sinks
              └─ enrich
"""
