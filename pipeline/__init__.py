"""Peeltap's composition root: the only package that knows the others.

    cli ──> commands ──┬─ replay ──> peeltap_core.Replay ──> clean capture, flow records
                       │     └────── events ──> suricata ──> corrected events
                       ├─ enrich ──> reassembly.store, suricata.streams
                       ├─ demo ────> a world of namespaces with `run` in it, or replay
                       ├─ run ─────> parts, the live service (below)
                       └─ status ──> control ──> a running service

`config` reads the file that says what to do, `config_check` says what is wrong with it, with the
line of each mistake (`marked_yaml`). `outputs` sees to it that a file never looks whole before it
is; `summary` and `progress` are what a person sees, `errors` what a person is told.

The live service, a thread for each part; `run` is their life, `parts` makes them:

    datapath ──> peeltap_core.Live ──> outlet ──> the tap ──> suricata.supervisor
       ├─ reassembly.live_store ──────────────────> suricata.relay ──> sinks
       └─ checkpointing ──> reassembly.checkpoint

`service_settings` are its own sections, `privileges` what it may do; `logs`, `notify` (the service
manager), `control` (its socket), `status_report`, `live_stats` and `metrics` are what it says, and
`status` shows it. `doctor` finds out what is wrong.
"""
