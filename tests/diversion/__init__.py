"""Mirrors `diversion/`."""
