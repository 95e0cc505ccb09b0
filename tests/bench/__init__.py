"""Tests of the benchmark: its captures, its plain peers, its arithmetic."""
