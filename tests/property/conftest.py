"""Hypothesis profiles.

`ci`, the default, draws the same bounded set of examples every time, so that a change is judged by
its own effect. `PEELTAP_HYPOTHESIS=thorough` draws many new ones; it is the one to run before a
release and after a change to the engine.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Neither judges time: a busy machine is no failure.
settings.register_profile(
    "ci",
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough",
    max_examples=2_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("PEELTAP_HYPOTHESIS", "ci"))
