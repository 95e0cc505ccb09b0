"""Tests of `diversion/proxy`."""
