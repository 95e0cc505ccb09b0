"""One Suricata: its configuration, its process, and the correction of its events.

settings      the `suricata:` section of the configuration
config        the generated suricata.yaml: an overlay on the distribution's
process       runs the installed Suricata on a capture; says in one sentence what went wrong
engine_log    Suricata's own log, read whole or followed

supervisor    one Suricata kept alive on the tap; what it does stands in
  lifecycle   its states, one table, and the waits between starts
  child       the process: begun, adopted after our own end, stopped
  workplace   the directory of its files
  live_config the generated suricata.yaml of the live one
  command     client of its command socket
  rules, rule_keeper  its rule files: seen to change, tried, loaded, kept
  eve_file    its file of events: turned over, its cut end mended
external      the operator's own Suricata, with the supervisor's face
messages      what these tell the service
stats         its counters, for metrics

streams       files and pipes of EVE lines, and the clock
enrich        lines in, corrected lines out; sans-IO
fast          the usual event's short way through it: answers kept for a connection's next events
eve           which end of a connection each place of an event names
splice        changes single values in a JSON text, to the byte
community_id  the hash of a 5-tuple
summary       alerts added up for a table
flows         what is asked of flow records and their store, which are handed in

shapes        the forms in which events are delivered: ECS, OCSF, CIM
enrichment    what is added to corrected events, and who is left out
sessions      connections of one attacker as one story; session_store keeps them

secrets       what the configuration names and never holds: read where it is kept, never shown
event_settings  the `events:` and `sinks:` sections of the configuration
sources       where a live service's events come from: followed files, sockets
relay         source to spool in one thread; commits what has arrived
ids           what each event is called, however often it comes
ledger        which batches have arrived; sans-IO
glance        the few members of an event that a sink looks at, without reading it whole
delivery      the spool, and a thread for each sink; how far they got
sinks         what each kind of sink speaks, and when it has acknowledged
notices       sentences for the log, not too often

process or supervisor ──> eve.json ──> streams ──> enrich ──> corrected EVE, and a summary
                                        │
                                    flow records

sources ──> relay ──> delivery ──> sinks
              └─ enrich
"""
