"""``make bench-events``: what an event costs from Suricata's file to where it is wanted.

Parts, and how they meet:

* ``service``: the event side of ``peeltap run``, as it is composed there, in a process of its own.
* ``material``: the events that everybody gets, and hands that write a growing file of them.
* ``peers``: jq and fever on the same file, passing events on with a field of each rewritten.
* ``parts``: side by side, memory, lag; each leaves figures and targets.
* ``__main__``: puts them together; ``python -m bench.events --help``.

``bench/README.md`` says what each figure means.
"""
