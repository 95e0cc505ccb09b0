"""Tests of `diversion/snat`."""
