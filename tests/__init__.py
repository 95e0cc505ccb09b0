"""Tests of every package, file for file; `support` holds what they share."""
