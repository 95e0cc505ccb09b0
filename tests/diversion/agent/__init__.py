"""Tests of `diversion/agent`."""
