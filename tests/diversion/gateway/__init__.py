"""Tests of `diversion/gateway`."""
