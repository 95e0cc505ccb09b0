"""Benchmarks: what peeltap costs, beside what it is compared with, in one run.

Parts, and how they meet:

* ``generate``: makes the captures at bench time, by seed; nothing of them is committed.
* ``peers/``: the same stripping written the plain way with dpkt and with scapy.
* ``contenders``: one table of command lines: peeltap, cp, editcap, tcprewrite, the peers.
* ``measure``: runs a command and returns its CPU time, wall time and peak memory.
* ``instructions``: instructions a packet, counted by valgrind or by the CPU's own counter.
* ``eve``: correction of EVE events beside ``jq``.
* ``report``: medians, paired ratios, targets; tables for people and JSON for machines.
* ``__main__``: puts them together; ``python -m bench --help``.

``bench/README.md`` says what each figure means.
"""
