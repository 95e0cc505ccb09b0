"""The tap: where the regenerated packets go, kept apart from the host's own network."""
