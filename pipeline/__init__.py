"""Peeltap's composition root: configuration, replay and the command line."""
