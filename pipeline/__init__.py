"""Peeltap's composition root: the only package that knows the others.

    cli ──> commands ──┬─ replay ──> peeltap_core.Replay ──> clean capture, flow records
                       │     └────── events ──> suricata ──> corrected events
                       ├─ enrich ──> reassembly.store, suricata.streams
                       └─ demo ────> a world of namespaces with `run` in it, or replay

`config` reads the file that says what to do, `config_check` says what is wrong with it, with the
line of each mistake (`marked_yaml`);
`outputs` sees to it that a file never looks whole before it is; `summary` and `progress`
are what a person sees, `errors` what a person is told.
"""
