"""The shapes that events are delivered in: what a SIEM already understands.

    event ──> ends: who attacked whom ──> ecs | ocsf | cim ──> another event
                                    └───> eve: as it is

values      one value of the type that was asked for, or none
ends        attacker, decoy and the proxied leg, by role
ecs         the Elastic Common Schema; its tables stand in
  ecs_fields  which member is which field
ocsf        the Open Cybersecurity Schema Framework
cim         Splunk's Common Information Model
writing     a shaped event as JSON, whatever was in it

A shape is a pure function of one corrected event. It takes any object and never raises: what is of
a wrong type is left where EVE had it.
"""

from __future__ import annotations

from .writing import SHAPES, Shape, make_shape, write

__all__ = ["SHAPES", "Shape", "make_shape", "write"]
