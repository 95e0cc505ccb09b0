"""Mirrors `tap/`."""
